"""Takes an import: file, check, new tree, the updates since, reconciliation, and the step from the old tree to the new.

The old tree serves and takes updates all the while. The file is read in another process; the new tree is built in
threads that give way to the others, and follows the log on its own until it is where the old one is. For the two
moments that need both at one exact position (the comparison, and the swap) updates are held back, for as long as the
last few thousand take to replay and the comparison takes; reports never are.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import grpc.aio

from fasttree.v1 import treenode_pb2, types_pb2
from services.shared.files.downloads import DownloadFailedError
from services.shared.serving.errors import UnavailableError
from services.shared.wire.record import RecordDamagedError
from services.treenode.imports.files import ImportFiles
from services.treenode.imports.process import NICE, Checking, Read, ReadMessage, ReadRequest, Refused, Row
from services.treenode.imports.reading import ImportLimits
from services.treenode.imports.reconciliation import refusal
from services.treenode.imports.table_reader import ImportRefusedError, ReadFailedError, TableReader
from services.treenode.node.node import LoadBegun, LoadFailed
from services.treenode.node.runner import NodeRunner
from services.treenode.node.sequence import LogUnreadable
from services.treenode.replication.following import Following
from services.treenode.replication.pusher_log import PusherLog
from services.treenode.tree import ImportTable, Tree, TreeConfig

#: A node that is behind the file's position waits this long for its pusher to bring it there.
POSITION_WAIT_S = 60.0
#: How often a load looks whether another way brought the import.
HAD_CHECK_S = 0.1

Response = treenode_pb2.LoadImportResponse
_Phase = treenode_pb2.ImportPhase

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportTaken:
    """The node serves from the import."""

    rows: int
    carried_positions: list[int]
    reconciliation: treenode_pb2.Reconciliation | None


class ImportLoader:
    """Loads one import at a time."""

    def __init__(
        self,
        node: NodeRunner,
        files: ImportFiles,
        tables: TableReader,
        limits: ImportLimits,
        on_taken: Callable[[], None],
    ) -> None:
        self._node = node
        self._files = files
        self._tables = tables
        self._limits = limits
        self._on_taken = on_taken
        #: Whether the new tree is about to be, or is, in the live one's place.
        self._swapping = False

    async def load(
        self, request: treenode_pb2.LoadImportRequest, pusher_address: str, tell: Callable[[Response], None]
    ) -> ImportTaken | None:
        """Takes the import; None where the node serves from it already.

        Raises:
            ImportRefusedError: The file is bad, or too different; the old tree serves on.
            FastTreeError: Anything else that kept the node from taking it; asked again, it may.
        """
        await self._node.restored.wait()
        async with self._node.succession:
            node, manifest = self._node, request.manifest
            if node.core.sequence.import_id >= manifest.import_id:
                return None
            if unbuildable := node.core.sequence.why_unbuildable(manifest.import_id):
                raise UnavailableError(
                    f"import {manifest.import_id}: waits for a peer's snapshot: {unbuildable}", reason="LOG_NOT_READ"
                )
            node.loading = (manifest.import_id, 0)
            node.handle(LoadBegun(f"import {manifest.import_id}"))
            try:
                return await self._unless_had(manifest.import_id, self._load(request, pusher_address, tell))
            except (ImportRefusedError, ReadFailedError, DownloadFailedError, OSError) as error:
                logger.warning("import %d was not taken: %s", manifest.import_id, error)
                node.handle(LoadFailed(str(error)))
                if isinstance(error, ImportRefusedError):
                    raise
                raise UnavailableError(f"import {manifest.import_id}: {error}", reason="IMPORT_NOT_LOADED") from error
            except (grpc.aio.AioRpcError, RecordDamagedError) as error:
                text = str(error.details() if isinstance(error, grpc.aio.AioRpcError) else error)
                if isinstance(error, RecordDamagedError) or error.code() is grpc.StatusCode.DATA_LOSS:
                    node.handle(LogUnreadable(manifest.import_id, text))
                node.handle(LoadFailed(text))
                raise UnavailableError(
                    f"import {manifest.import_id}: can't read the updates after it: {text}", reason="LOG_NOT_READ"
                ) from error
            except BaseException as error:
                node.handle(LoadFailed(repr(error)))
                raise
            finally:
                node.loading = (0, 0)
                node.heartbeat_wanted.set()
                node.applying.set()

    async def _unless_had(self, import_id: int, load: Coroutine[None, None, ImportTaken]) -> ImportTaken | None:
        """What the load comes to; None where a peer's snapshot of that import was here first."""
        self._swapping = False
        loading = asyncio.ensure_future(load)
        try:
            while not loading.done():
                await asyncio.wait({loading}, timeout=HAD_CHECK_S)
                if not self._swapping and self._node.core.sequence.import_id >= import_id:
                    return None
            return loading.result()
        finally:
            loading.cancel()
            await asyncio.wait({loading})

    def _begin_swap(self) -> None:
        self._swapping = True

    async def _load(
        self, request: treenode_pb2.LoadImportRequest, pusher_address: str, tell: Callable[[Response], None]
    ) -> ImportTaken:
        manifest = request.manifest
        teller = _Teller(self._node, manifest.import_id, tell)
        teller.tell(_Phase.IMPORT_PHASE_DOWNLOADING, 0.0)
        path = await self._files.get(
            manifest, list(request.sources), lambda share: teller.tell(_Phase.IMPORT_PHASE_DOWNLOADING, share)
        )
        teller.tell(_Phase.IMPORT_PHASE_CHECKING, 0.0)
        tree = await self._tree(manifest, path, teller)
        address = request.pusher_address or pusher_address
        succession = Succession(self._node, manifest, tree, address, teller.replaying, self._begin_swap)
        carried = await succession.run()
        self._node.carried_positions = carried
        self._on_taken()
        logger.info("serves from import %d: %d members", manifest.import_id, tree.member_count)
        return ImportTaken(teller.rows, carried, succession.figures)

    async def _tree(self, manifest: types_pb2.ImportManifest, path: Path, teller: _Teller) -> Tree:
        """The tree of a file. Raises ImportRefusedError, ReadFailedError."""
        cluster = self._node.cluster
        request = ReadRequest(
            path=str(path),
            file_format=int(manifest.format),
            volume_types=list(cluster.volume_types),
            periods=list(cluster.periods),
            limits=self._limits,
        )
        table = await self._tables.read(request, teller.read)
        config = TreeConfig(tuple(cluster.volume_types), tuple(cluster.periods))
        return await _build(table, config, manifest)


async def _build(table: ImportTable, config: TreeConfig, manifest: types_pb2.ImportManifest) -> Tree:
    """Builds the tree in threads that give way to the node's others. Raises ImportRefusedError."""
    threads = ThreadPoolExecutor(1, thread_name_prefix="build", initializer=_give_way)
    building = partial(Tree.from_table, table, config, manifest.import_id, manifest.as_of_position)
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, building)
    except OverflowError as error:
        reason = f"import refused: the file: a total does not fit 64 bits: {error}"
        rows = [Row(line=0, column="", reason=str(error))]
        raise ImportRefusedError(Refused(reason=reason, rejected_count=1, rejected_rows=rows)) from error
    finally:
        threads.shutdown(wait=False)


def _give_way() -> None:
    # Linux keeps this for each thread, and threads that this one starts begin with it.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICE)


class _Teller:
    """Turns what happens into progress messages, a few a second at most."""

    def __init__(self, node: NodeRunner, import_id: int, tell: Callable[[Response], None]) -> None:
        self._node = node
        self._import_id = import_id
        self._tell = tell
        self._told = (-1, -1)
        self.rows = 0

    def tell(self, phase: treenode_pb2.ImportPhase.ValueType, share: float) -> None:
        percent = max(0, min(100, int(share * 100)))
        if (int(phase), percent) == self._told:
            return
        self._told = (int(phase), percent)
        # Four phases before the import is done; each is taken for a quarter of the way.
        self._node.loading = (self._import_id, (int(phase) - 1) * 25 + percent // 4)
        self._tell(Response(phase=phase, percent=percent, rows=self.rows))

    def read(self, message: ReadMessage) -> None:
        if isinstance(message, Checking):
            self.tell(_Phase.IMPORT_PHASE_CHECKING, message.share)
        elif isinstance(message, Read):
            self.rows = message.rows
            self.tell(_Phase.IMPORT_PHASE_BUILDING, 0.0)

    def replaying(self, share: float) -> None:
        self.tell(_Phase.IMPORT_PHASE_REPLAYING, share)


class Succession:
    """Brings a new tree to where the live one is, compares the two, and puts it in the live one's place."""

    def __init__(
        self,
        node: NodeRunner,
        manifest: types_pb2.ImportManifest,
        tree: Tree,
        pusher_address: str,
        progress: Callable[[float], None],
        on_swap: Callable[[], None],
    ) -> None:
        self._node = node
        self._manifest = manifest
        self._tree = tree
        self._progress = progress
        self._following = Following(node, tree, progress, on_swap)
        self._pusher_address = pusher_address
        #: How the new tree differs from the live one; None where there was nothing to compare it with.
        self.figures: treenode_pb2.Reconciliation | None = None

    @property
    def _in_force(self) -> bool:
        """Whether another node took the import before: it is to be taken here too, with the same carried updates."""
        log_end = self._node.core.sequence.log_end
        return log_end is not None and log_end.import_id >= self._manifest.import_id

    async def run(self) -> list[int]:
        """Returns the positions of the carried updates once the new tree is served.

        Raises:
            ImportRefusedError: It differs too much from the live tree.
            UnavailableError, FailedPreconditionError: The node's own state or log moved away under it.
            AioRpcError, RecordDamagedError: The log could not be read.
        """
        self._progress(0.0)
        carried = await self._carried()
        async with PusherLog(self._pusher_address) as log:
            if carried:
                self._tree.offer_carried(carried, await log.updates_at(carried))
            if not self._in_force and self._node.core.sequence.base_wanted is None:
                await self._compare(log)
            await self._following.swap(log)
        return carried

    async def _carried(self) -> list[int]:
        given = list(self._manifest.carried_positions)
        node = self._node
        if given or self._in_force or node.core.sequence.base_wanted is not None:
            return given
        try:
            async with asyncio.timeout(POSITION_WAIT_S):
                await node.wait_for_position(self._manifest.as_of_position)
        except TimeoutError:
            raise UnavailableError(
                f"the node is at position {node.core.sequence.position}, the file at {self._manifest.as_of_position}: "
                "it can't tell which updates were held then",
                reason="NODE_BEHIND",
            ) from None
        return node.held_tree.carried_positions(self._manifest.as_of_position)

    async def _compare(self, log: PusherLog) -> None:
        """Refuses the tree where it differs from the live one by more than the thresholds allow."""
        node = self._node
        if node.held_tree.member_count == 0:
            return
        async with self._following.level(log):
            found = await node.gate.read(partial(node.held_tree.reconcile, self._tree))
        self.figures = treenode_pb2.Reconciliation(**dataclasses.asdict(found))
        logger.info("import %d against the live tree: %s", self._manifest.import_id, str(found))
        reason = None if self._manifest.force else refusal(self.figures, node.settings)
        if reason is not None:
            rows = [Row(line=0, column="", reason=reason)]
            raise ImportRefusedError(Refused(reason=reason, rejected_count=1, rejected_rows=rows))
