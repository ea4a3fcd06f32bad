"""Every import that the pusher knows, with its rollout: on disk, in memory, and told to who watches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial

from fasttree.v1 import pusher_pb2, treenode_pb2, types_pb2
from services.pusher.import_store.kept import KeptImports
from services.pusher.imports.events import ImportPlace, RecordTaken
from services.pusher.imports.history import ImportHistory, ImportProblem, ImportRefused, PastImport
from services.pusher.imports.places import KnownImport
from services.pusher.log.errors import error_of
from services.pusher.log.store import LogStore, LogStoreError, StoredImport
from services.pusher.log.writer import LogWriter
from services.shared.domain.sentences import with_mend
from services.shared.files.import_source import HeldImport
from services.shared.rules import RulesHistory
from services.shared.serving.errors import (
    FailedPreconditionError,
    FastTreeError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)

logger = logging.getLogger(__name__)

STATES = {
    ImportPlace.WAITING: pusher_pb2.IMPORT_STATE_WAITING,
    ImportPlace.ROLLING_OUT: pusher_pb2.IMPORT_STATE_ROLLING_OUT,
    ImportPlace.DONE: pusher_pb2.IMPORT_STATE_DONE,
    ImportPlace.REFUSED: pusher_pb2.IMPORT_STATE_REFUSED,
    ImportPlace.SUPERSEDED: pusher_pb2.IMPORT_STATE_SUPERSEDED,
}
_PLACES = {state: place for place, state in STATES.items()}
_OVER = {pusher_pb2.IMPORT_STATE_DONE, pusher_pb2.IMPORT_STATE_REFUSED, pusher_pb2.IMPORT_STATE_SUPERSEDED}


class ImportCatalog:
    """The imports, oldest first. Everything but the constructor on the event loop."""

    def __init__(self, store: LogStore, writer: LogWriter, files: KeptImports, rules: RulesHistory) -> None:
        """Reads what is stored; blocks. `rules`: the log's. Raises LogDamagedError."""
        self._store, self._writer, self._files, self._rules = store, writer, files, rules
        self._entries = {stored.status.manifest.import_id: stored for stored in store.imports()}
        for stored in self._entries.values():
            rules.stamp(stored.status.manifest)  # one that was taken before manifests had rules
            stored.status.manifest.carried_known |= stored.taken  # … or said that what they carry is known
        #: Held while an import is added, and while something is forgotten: what is decided by the history must still
        #: hold when it is done.
        self.changing = asyncio.Lock()
        #: Set, and replaced by a new one, on each change.
        self._changed = asyncio.Event()

    # -- what there is

    @property
    def history(self) -> ImportHistory:
        """The imports as they are now, for what is decided by them."""
        return history_of(self._entries.values())

    def known(self) -> tuple[KnownImport, ...]:
        """What the rollout core starts from."""
        return tuple(
            KnownImport(import_id, _PLACES[entry.status.state], entry.taken)
            for import_id, entry in self._entries.items()
        )

    def told(self, count: int) -> list[pusher_pb2.ImportStatus]:
        """The newest imports, newest first, as whoever asks is told of them."""
        return [_told(status) for status in self.newest(count)]

    def newest(self, count: int) -> list[pusher_pb2.ImportStatus]:
        """The newest imports, newest first."""
        return [self._entries[import_id].status for import_id in sorted(self._entries, reverse=True)[:count]]

    def status(self, import_id: int) -> pusher_pb2.ImportStatus:
        """One import; 0: the newest. Raises NotFoundError."""
        wanted = import_id or max(self._entries, default=0)
        if wanted not in self._entries:
            what = f"import {import_id}" if import_id else "an import"
            raise NotFoundError(f"there is no {what} here", field="import_id", value=str(import_id))
        return self._entries[wanted].status

    async def find(self, import_id: int) -> HeldImport:
        """One import and where its file is kept; 0: the newest. Raises NotFoundError."""
        manifest = self.status(import_id).manifest
        return HeldImport(manifest, self._files.files.path(manifest))

    async def watch(self, import_id: int) -> AsyncIterator[pusher_pb2.ImportStatus]:
        """The import at once, then after each change; ends when its rollout is over. Raises NotFoundError."""
        wanted = self.status(import_id).manifest.import_id
        last = b""
        while True:
            changed = self._changed
            status = _told(self.status(wanted))  # as it is now, whatever happens while it is sent
            encoded = status.SerializeToString()
            if encoded != last:
                last = encoded
                yield status
            if status.state in _OVER:
                return
            await changed.wait()

    # -- what changes

    async def add(
        self, received: types_pb2.ImportManifest, keep: Callable[[types_pb2.ImportManifest], Awaitable[None]]
    ) -> types_pb2.ImportManifest:
        """Gives an import its id, its file its place (`keep`, with the whole manifest), and records it.

        Raises:
            InvalidArgumentError: as_of_position is not in the log yet.
            FailedPreconditionError: Updates after it are no longer in the log; or it is before that of an import that
                is here already.
            ResourceExhaustedError: The disk is full.
            StoreAwayError: The file can't be kept where the log is safe.
        """
        async with self.changing:
            refused = self.history.why_refused(received.as_of_position, self._store.ends())
            if refused is not None:
                raise _error(refused, str(received.as_of_position))
            return await self._add(received, keep)

    async def add_again(self) -> types_pb2.ImportManifest:
        """Takes the import before the one in force again.

        Raises:
            FailedPreconditionError: There is none, its updates are no longer in the log, or its file is not whole.
            ResourceExhaustedError: The disk is full.
            StoreAwayError: Nobody knows whether the file is still kept.
        """
        async with self.changing:
            before = self.history.to_go_back_to(self._store.ends())
            if isinstance(before, ImportRefused):
                raise _error(before)
            old = self._entries[before.import_id].status.manifest
            if problem := await self._files.unfit(old):
                raise FailedPreconditionError(f"the file of import {old.import_id} {problem}")
            renewed = types_pb2.ImportManifest()
            renewed.CopyFrom(old)
            renewed.uploaded_at.GetCurrentTime()
            renewed.remark = ""
            renewed.carried_known = True
            renewed.force = True  # asked for by a person who knows that it differs
            return await self._add(renewed, partial(self._files.keep_again, old))

    async def _add(
        self, received: types_pb2.ImportManifest, keep: Callable[[types_pb2.ImportManifest], Awaitable[None]]
    ) -> types_pb2.ImportManifest:
        manifest = types_pb2.ImportManifest()
        manifest.CopyFrom(received)
        manifest.import_id = self.history.next_id
        # In the writer's turn: it knows the rules of every position that anybody can have heard of.
        await self._writer.run(lambda: self._rules.stamp(manifest))
        status = pusher_pb2.ImportStatus(manifest=manifest, state=pusher_pb2.IMPORT_STATE_WAITING)
        try:
            await keep(manifest)
            await self._save(StoredImport(status, taken=False))
        except OSError as error:
            raise ResourceExhaustedError(f"the import can't be kept: {with_mend(error)}") from error
        except LogStoreError as error:
            raise error_of(error, "the import can't be kept") from error
        return manifest

    async def set_place(self, import_id: int, place: ImportPlace) -> None:
        """Records where an import is in its rollout."""
        entry = self._entries[import_id]
        entry.status.state = STATES[place]
        await self._save(entry)

    async def set_taken(self, taken: RecordTaken) -> None:
        """Records that a node serves from the import. Raises LogStoreError."""
        status = self._entries[taken.import_id].status
        status.manifest.carried_known = True
        status.manifest.carried_positions[:] = taken.carried_positions
        del status.manifest.carried_holds[:]
        for position, member_id, removed_position in taken.carried_holds:
            status.manifest.carried_holds.add(position=position, member_id=member_id, removed_position=removed_position)
        del status.manifest.carried_removals[:]
        for member_id, position in taken.carried_removals:
            status.manifest.carried_removals.add(member_id=member_id, position=position)
        for import_id in self._entries.keys() - {each.import_id for each in self.history.needed()}:
            # Nobody can go back to it, and what it carried is long.
            del self._entries[import_id].status.manifest.carried_removals[:]
        # In memory at once: a state that is recorded meanwhile must not undo it.
        self._entries[taken.import_id] = StoredImport(status, taken=True)
        await self._save(self._entries[taken.import_id])

    def set_progress(self, import_id: int, address: str, name: str, progress: treenode_pb2.LoadImportResponse) -> None:
        """A node's last word on an import. Not recorded by itself: it is with the import's next state.

        The node is told by its name, which may come to be known only while it loads: by its address until then.
        """
        status = self._entries[import_id].status
        entry = next((known for known in status.nodes if known.node in (address, name)), None)
        if entry is None:
            entry = status.nodes.add()
        entry.node = name
        entry.progress.CopyFrom(progress)
        del entry.progress.carried_removals[:]  # the manifest has them
        self._tell()

    def serves(self, import_id: int, address: str, name: str) -> None:
        """A node stands in this import. Its last word on the load may be lost: it was not recorded, its call was cut,
        or it has the tree from another node."""
        stored = self._entries.get(import_id)
        for known in stored.status.nodes if stored is not None else ():
            if known.node in (address, name) and known.progress.phase != treenode_pb2.IMPORT_PHASE_DONE:
                known.progress.phase, known.progress.percent = treenode_pb2.IMPORT_PHASE_DONE, 100
                known.progress.reason = ""
                self._tell()

    async def _save(self, stored: StoredImport) -> None:
        status = pusher_pb2.ImportStatus()
        status.CopyFrom(stored.status)  # the writer's own: this one may change meanwhile
        copy = StoredImport(status, stored.taken)
        await self._writer.run(lambda: self._store.save_import(copy))
        self._entries.setdefault(status.manifest.import_id, stored)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def history_of(stored: Iterable[StoredImport]) -> ImportHistory:
    """What follows from these imports."""
    return ImportHistory(
        PastImport(
            each.status.manifest.import_id,
            each.status.manifest.as_of_position,
            _PLACES[each.status.state],
            each.taken,
            tuple(each.status.manifest.carried_positions),
        )
        for each in stored
    )


def _told(status: pusher_pb2.ImportStatus) -> pusher_pb2.ImportStatus:
    """A copy without what only nodes have to know."""
    told = pusher_pb2.ImportStatus()
    told.CopyFrom(status)
    del told.manifest.carried_removals[:]
    return told


def _error(refused: ImportRefused, as_of_position: str = "") -> FastTreeError:
    match refused.problem:
        case ImportProblem.NOT_IN_LOG_YET:
            return InvalidArgumentError(refused.message, field="as_of_position", value=as_of_position)
        case ImportProblem.OVERTAKEN:
            return FailedPreconditionError(refused.message, field="as_of_position", value=as_of_position)
        case ImportProblem.NO_LONGER_IN_LOG | ImportProblem.NOTHING_BEFORE:
            return FailedPreconditionError(refused.message)
