"""Does what the core of the closed periods asks for: writes, fetches and makes files, and knows which there are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from fasttree.v1 import types_pb2
from services.shared.cores import Tick
from services.shared.files.checksums import KnownChecksums
from services.shared.files.sealed.errors import SealDamagedError
from services.shared.files.sealed.names import state_name
from services.shared.serving.background import Background
from services.shared.serving.errors import NotFoundError
from services.treenode.node.runner import NodeRunner, now_s
from services.treenode.periods.files import KeptFile, PeriodFiles
from services.treenode.periods.keeping import (
    AskPeers,
    Damaged,
    Fetch,
    Fetched,
    FetchFailed,
    Found,
    Keeping,
    KeepingAction,
    KeepingEvent,
    Kept,
    Offer,
    PeersHave,
    Rebuild,
    RebuildEnded,
    Remove,
    Sealing,
    SetAside,
    Stands,
    Write,
    WriteFailed,
    Written,
)
from services.treenode.periods.peers import FetchError, PeriodPeers
from services.treenode.periods.rebuilding import Rebuilding
from services.treenode.periods.writing import StateWrite
from services.treenode.snapshots.state_file import StateDamagedError
from services.treenode.snapshots.store import SnapshotStore
from services.treenode.tree import Tree

_NOT_WRITTEN = "it could not be written"
#: Before a file is read through that nobody asked for, in seconds: the disk is not for that alone.
CHECK_PAUSE_S = 3.0
#: How often it is looked at which tree is served, in seconds.
LOOK_S = 0.5

logger = logging.getLogger(__name__)


class PeriodKeeper:
    """The closed periods of one node."""

    def __init__(
        self,
        node: NodeRunner,
        files: PeriodFiles,
        snapshots: SnapshotStore,
        background: Background,
        own_instant_address: Callable[[], str],
        pusher_address: Callable[[], str],
    ) -> None:
        self._node = node
        self.files = files
        self._background = background
        self.peers = PeriodPeers(node, files, own_instant_address)
        self._rebuilding = Rebuilding(node, snapshots, pusher_address, self.before_seal)
        self.core = Keeping(node.settings.periods_kept, node.settings.periods_check_s)
        #: What is known of each file; those of `core.held` among them.
        self._described: dict[Kept, KeptFile] = {}
        #: Replaced whenever anything has changed, once it is set.
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        #: What the core asked for on the disk, in its order: no two at once.
        self._disk_work: asyncio.Queue[Remove | SetAside] = asyncio.Queue()
        #: SHA-256 of files that peers asked for.
        self._checksums = KnownChecksums()
        #: How long the last fork held updates up, in seconds.
        self.fork_s = 0.0

    # -- what others ask

    def file_of(self, period: str) -> KeptFile | None:
        """What is kept of a period; None where nothing is."""
        state = self.core.held.get(period)
        return None if state is None else self._described[state]

    def kept(self) -> list[types_pb2.KeptPeriod]:
        """All that is kept, the newest period first."""
        files = [self._described[state] for _, state in sorted(self.core.held.items(), reverse=True)]
        return [
            types_pb2.KeptPeriod(
                period=file.state.period,
                log_id=file.state.log_id,
                import_id=file.state.import_id,
                position=file.state.position,
                digest=file.digest,
                size_bytes=file.size_bytes,
                replayed=file.state.replayed,
            )
            for file in files
        ]

    @property
    def problem(self) -> str:
        """Why a period is not kept that should be, in one line; empty where all is well."""
        problems = sorted(self.core.problems.items(), reverse=True)
        return "; ".join(f"period {period} is not kept: {why}" for period, why in problems[:3])

    async def changed(self) -> None:
        """Returns once anything has changed."""
        await self._changed.wait()

    def damaged(self, file: KeptFile, reason: str) -> None:
        """The file is not what was written: it is set aside, and another one is looked for."""
        logger.error("the state of period %s is damaged: %s", file.state.period, reason)
        self._handle(Damaged(file.state, reason))

    async def checked(self, file: KeptFile) -> tuple[Path, bytes]:
        """Where a file is, which is whole, and its SHA-256.

        Raises:
            NotFoundError: It is not whole, or not there any more.
        """
        try:
            path = await asyncio.to_thread(self.files.check, file.state)
            return path, await asyncio.to_thread(self._checksums.of, path, state_name(path.name))
        except (StateDamagedError, SealDamagedError, OSError) as error:
            self.damaged(file, str(error))
            raise NotFoundError(f"the state of period {file.state.period} was set aside just now") from error

    # -- what happens

    def before_seal(self, tree: Tree, period: str) -> None:
        """A tree is just before the update that closes a period for good; see `Tree.apply`. Returns after a fork."""
        try:
            self.look()
            sequence = self._node.core.sequence
            newest = sequence.log_end.import_id if sequence.log_end is not None else 0
            state = Kept(sequence.log_id, period, tree.import_id, tree.position)
            sealing = Sealing(state, is_served=tree is self._node.in_force.tree, newest_import=newest)
            for action in self.core.handle(sealing, now_s()):
                assert isinstance(action, Write)
                self._write(tree, action.state)
        except Exception:
            # Whatever it is, updates go on: the period is missing, and is looked for.
            logger.exception("the state of period %s can't be written", period)
        self._tell()

    async def load(self) -> None:
        """Finds the files of former lives."""
        for file in await asyncio.to_thread(self.files.all):
            self._described[file.state] = file
            self._handle(Found(file.state))

    async def writes_ended(self) -> None:
        """Returns once nothing is being written."""
        while self.core.writing:
            await self.changed()

    async def run(self) -> None:
        """Looks which periods are closed, and does what there is to do; ends when it is cancelled."""
        self._background.start(self._do_disk_work(), "removes states of closed periods")
        self._background.start(self._check_all(), "reads the states of closed periods through")
        while True:
            self.look()
            deadline_s = self.core.deadline_s
            if deadline_s is not None and now_s() >= deadline_s:
                self._handle(Tick())
            self._wake.clear()
            # Not by wait_for, which forgets a cancellation that comes together with what it waits for.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()

    def look(self) -> None:
        """Looks which periods are closed in the tree that is served."""
        node = self._node
        tree = node.tree
        if tree is not None:
            log_id = node.core.sequence.log_id if node.old is None else node.old.log_id
            self._handle(Stands(log_id, tree.rules.sealed_periods))

    async def _check_all(self) -> None:
        """Each file is read through once in a process's life, before anybody needs it, if nobody was quicker."""
        for period in sorted(self.core.held, reverse=True):
            await asyncio.sleep(CHECK_PAUSE_S)
            if (file := self.file_of(period)) is not None:
                try:
                    await asyncio.to_thread(self.files.check, file.state)
                except (StateDamagedError, OSError) as error:
                    self.damaged(file, str(error))

    def _handle(self, event: KeepingEvent) -> None:
        before = (dict(self.core.held), dict(self.core.writing), dict(self.core.problems))
        actions = self.core.handle(event, now_s())
        for action in actions:
            self._perform(action)
        if actions or before != (self.core.held, self.core.writing, self.core.problems):
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        self._wake.set()

    def _perform(self, action: KeepingAction) -> None:
        match action:
            case AskPeers():
                self._begin(self._ask(), lambda _: PeersHave(()))
            case Fetch(offer):
                self._begin(self._fetch(offer), lambda why: FetchFailed(offer, why))
            case Rebuild(periods):
                self._begin(self._rebuild(periods), RebuildEnded)
            case Remove() | SetAside():
                self._described.pop(action.state, None)
                self._disk_work.put_nowait(action)
            case Write():
                raise AssertionError("a state is written by whoever tells of its tree")

    def _begin(self, work: Awaitable[KeepingEvent], failed: Callable[[str], KeepingEvent]) -> None:
        """Tells the core what came of some work. Whatever fails in it ends neither the process nor the rounds."""

        async def told() -> None:
            try:
                event = await work
            except (OSError, StateDamagedError, FetchError) as error:
                event = failed(str(error))
                logger.warning("%s", event)
            except Exception as error:
                event = failed(repr(error))
                logger.exception("a defect in the keeping of closed periods")
            self._handle(event)

        self._background.start(told(), "keeps closed periods")

    # -- work

    def _write(self, tree: Tree, state: Kept) -> None:
        try:
            write = StateWrite(self.files, self._node.cluster.name, tree, state)
        except Exception as error:
            self._handle(WriteFailed(state, f"{_NOT_WRITTEN}: {error}"))
            raise
        self.fork_s = write.fork_s
        self._begin(self._finish(write, state), lambda why: WriteFailed(state, f"{_NOT_WRITTEN}: {why}"))

    async def _finish(self, write: StateWrite, state: Kept) -> KeepingEvent:
        self._described[state] = await write.finished()
        logger.info("keeps period %s: import %d, position %d", state.period, state.import_id, state.position)
        return Written(state)

    async def _ask(self) -> KeepingEvent:
        # A state that goes out of the way and one that comes may have the same name.
        await self._disk_work.join()
        return PeersHave(await self.peers.ask())

    async def _fetch(self, offer: Offer) -> KeepingEvent:
        self._described[offer.state] = await self.peers.fetch(offer)
        logger.info("keeps period %s, from %s", offer.state.period, offer.peer)
        return Fetched(offer.state)

    async def _rebuild(self, periods: tuple[str, ...]) -> KeepingEvent:
        reason = await self._rebuilding.pass_by(periods)
        if reason:
            logger.warning("not kept: %s: %s", ", ".join(periods), reason)
        return RebuildEnded(reason)

    async def _do_disk_work(self) -> None:
        while True:
            action = await self._disk_work.get()
            try:
                if isinstance(action, Remove):
                    await asyncio.to_thread(self.files.remove, action.state)
                else:
                    logger.warning("period %s is set aside: %s", action.state.period, action.reason)
                    path = self.files.path_of(action.state)
                    await asyncio.to_thread(self.files.set_aside, path, action.reason)
            except OSError as error:
                logger.error("the state of period %s stays where it is: %s", action.state.period, error)
            finally:
                self._disk_work.task_done()
