"""Every import that the pusher knows, with its rollout: on disk, in memory, and told to who watches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from fasttree.v1 import pusher_pb2, treenode_pb2, types_pb2
from services.pusher.imports.events import ImportPlace
from services.pusher.imports.files import ImportFiles
from services.pusher.imports.places import OPEN_PLACES, KnownImport
from services.pusher.log.store import LogStore, StoredImport, StoreFullError
from services.pusher.log.writer import LogWriter
from services.shared.files.import_source import HeldImport
from services.shared.serving.errors import (
    FailedPreconditionError,
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
_OPEN = {STATES[place] for place in OPEN_PLACES}


class ImportCatalog:
    """The imports, oldest first. Everything but the constructor on the event loop."""

    def __init__(self, store: LogStore, writer: LogWriter, files: ImportFiles) -> None:
        """Reads what is stored; blocks. Raises LogDamagedError."""
        self._store, self._writer, self._files = store, writer, files
        self._entries = {stored.status.manifest.import_id: stored for stored in store.imports()}
        #: Held while a file has its place already and its entry is still to come: nothing may tidy up then.
        self.adding = asyncio.Lock()
        #: Set, and replaced by a new one, on each change.
        self._changed = asyncio.Event()

    # -- what there is

    @property
    def in_force(self) -> int:
        """The newest import that a node has taken; 0 for none."""
        return max((import_id for import_id, entry in self._entries.items() if entry.taken), default=0)

    def known(self) -> tuple[KnownImport, ...]:
        """What the rollout core starts from."""
        return tuple(
            KnownImport(import_id, _PLACES[entry.status.state], entry.taken)
            for import_id, entry in self._entries.items()
        )

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
        return HeldImport(manifest, self._files.path(manifest))

    def needed(self, count: int) -> list[types_pb2.ImportManifest]:
        """The imports whose files (and updates since) may still be asked for.

        Those not over yet, the one in force, the one before it (for a rollback), and further taken ones up to `count`.
        """
        taken = sorted((import_id for import_id, entry in self._entries.items() if entry.taken), reverse=True)
        wanted = set(taken[: max(2, count)])
        wanted |= {import_id for import_id, entry in self._entries.items() if entry.status.state in _OPEN}
        # A superseded one may be under way on its canary still.
        wanted |= {import_id for import_id in self._entries if import_id > self.in_force}
        return [self._entries[import_id].status.manifest for import_id in sorted(wanted)]

    async def watch(self, import_id: int) -> AsyncIterator[pusher_pb2.ImportStatus]:
        """The import at once, then after each change; ends when its rollout is over. Raises NotFoundError."""
        wanted = self.status(import_id).manifest.import_id
        last = b""
        while True:
            changed = self._changed
            encoded = self.status(wanted).SerializeToString()
            status = pusher_pb2.ImportStatus.FromString(encoded)  # as it is now, whatever happens while it is sent
            if encoded != last:
                last = encoded
                yield status
            if status.state in _OVER:
                return
            await changed.wait()

    # -- what changes

    async def add(
        self,
        part_manifest: types_pb2.ImportManifest,
        keep: Callable[[types_pb2.ImportManifest], None],
        *,
        may_be_older: bool = False,
    ) -> types_pb2.ImportManifest:
        """Gives an import its id, its file its place (`keep`, in a thread, with the whole manifest), and records it.

        Raises:
            InvalidArgumentError: as_of_position is not in the log yet.
            FailedPreconditionError: Updates after it are no longer in the log; or it is before that of an import that
                is here already, and not `may_be_older` (a rollback).
            ResourceExhaustedError: The disk is full.
        """
        ends = self._store.ends()
        if part_manifest.as_of_position > ends.last:
            raise InvalidArgumentError(
                f"as_of_position {part_manifest.as_of_position} is after the log's end, {ends.last}",
                field="as_of_position",
                value=str(part_manifest.as_of_position),
            )
        if part_manifest.as_of_position + 1 < ends.first:
            raise FailedPreconditionError(
                f"updates after position {part_manifest.as_of_position} are no longer in the log, which begins at "
                f"{ends.first}: take a newer file"
            )
        async with self.adding:
            if not may_be_older:
                self._check_not_overtaken(part_manifest.as_of_position)
            manifest = types_pb2.ImportManifest()
            manifest.CopyFrom(part_manifest)
            manifest.import_id = max(self._entries, default=0) + 1
            stored = StoredImport(
                pusher_pb2.ImportStatus(manifest=manifest, state=pusher_pb2.IMPORT_STATE_WAITING), taken=False
            )
            try:
                await asyncio.to_thread(keep, manifest)
                await self._save(stored)
            except (OSError, StoreFullError) as error:
                raise ResourceExhaustedError(f"the import can't be kept: {error}; make room on the disk") from error
            return manifest

    def _check_not_overtaken(self, as_of_position: int) -> None:
        """Refuses a file that was taken before the one that it would replace.

        What was held when it was taken may be in the newer tree by now, and that tree can no longer tell: it would be
        neither in this file nor carried, and lost.
        """
        for import_id, entry in self._entries.items():
            newer = entry.status.manifest.as_of_position > as_of_position
            if newer and (import_id == self.in_force or entry.status.state in _OPEN):
                raise FailedPreconditionError(
                    f"as_of_position {as_of_position} is before {entry.status.manifest.as_of_position}, that of import "
                    f"{import_id}: this export was overtaken; export again, or roll back",
                    field="as_of_position",
                    value=str(as_of_position),
                )

    def check_rollback(self) -> types_pb2.ImportManifest:
        """The import that a rollback goes back to. Raises FailedPreconditionError."""
        taken = sorted((import_id for import_id, entry in self._entries.items() if entry.taken), reverse=True)
        if len(taken) < 2:
            raise FailedPreconditionError("there is no import before the one in force to go back to")
        manifest = self._entries[taken[1]].status.manifest
        first = self._store.ends().first
        if first_needed(manifest) < first:
            raise FailedPreconditionError(
                f"import {manifest.import_id} needs updates from {first_needed(manifest)} on; the log begins at {first}"
            )
        return manifest

    async def set_place(self, import_id: int, place: ImportPlace) -> None:
        """Records where an import is in its rollout."""
        entry = self._entries[import_id]
        entry.status.state = STATES[place]
        await self._save(entry)

    async def set_taken(self, import_id: int, carried_positions: tuple[int, ...]) -> None:
        """Records that a node serves from the import. Raises StoreFullError."""
        status = self._entries[import_id].status
        del status.manifest.carried_positions[:]
        status.manifest.carried_positions.extend(carried_positions)
        # In memory at once: a state that is recorded meanwhile must not undo it.
        self._entries[import_id] = StoredImport(status, taken=True)
        await self._save(self._entries[import_id])

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


def first_needed(manifest: types_pb2.ImportManifest) -> int:
    """The oldest position that an import still needs from the log."""
    return min([manifest.as_of_position + 1, *manifest.carried_positions])
