"""Takes imports to the nodes: performs what the rollout core (`rollout.py`) asks for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import grpc
import grpc.aio

from fasttree.v1 import treenode_pb2, treenode_pb2_grpc
from services.pusher.fanout.events import LogEndChanged, NodeStands
from services.pusher.fanout.members import MembersChanged
from services.pusher.imports.catalog import ImportCatalog
from services.pusher.imports.events import (
    Announce,
    CancelLoad,
    ImportAdded,
    ImportPlace,
    Load,
    Recorded,
    RecordPlace,
    RecordTaken,
    RolloutAction,
    RolloutEvent,
)
from services.pusher.imports.load_words import LoadWords
from services.pusher.imports.node_news import for_rollout
from services.pusher.imports.rollout import Rollout
from services.pusher.imports.settings import RolloutSettings
from services.pusher.log.store import LogStoreError
from services.pusher.tracing.imports import ImportTraces
from services.shared.cores import Tick
from services.shared.serving.background import Background
from services.shared.serving.channels import open_channel

logger = logging.getLogger(__name__)

_TICK_S = 0.25
_RECORD_AGAIN_S = 1.0


class LoadSource(NamedTuple):
    """What a node needs to read the log by: the pusher's host:port, and the log's id."""

    address: str
    log_id: str


class RolloutRunner:
    """The shell of the rollout core. Everything on one event loop."""

    def __init__(
        self,
        settings: RolloutSettings,
        catalog: ImportCatalog,
        source: Callable[[], LoadSource],
        background: Background,
        names: dict[str, str],
        tell: Callable[[LogEndChanged], None],
        traces: ImportTraces | None = None,
    ) -> None:
        """`names`: by address, kept up to date elsewhere; `tell` hears of each import that comes in force; `traces`: of
        imports, where they are traced."""
        self.core = Rollout(settings, catalog.known())
        self._catalog = catalog
        self._source = source
        self._background = background
        self._names = names
        self._tell = tell
        self._traces = traces
        self._load: tuple[int, asyncio.Task[None]] | None = None
        #: Nodes of which the log says that what they serve was never given out here.
        self._told_strange: dict[str, int] = {}
        #: States to be recorded, in order.
        self._records: asyncio.Queue[RecordPlace | RecordTaken] = asyncio.Queue()

    async def run(self) -> None:
        """Keeps time for the core, for as long as the pusher runs."""
        self._background.start(self._record(), "records imports")
        while True:
            await asyncio.sleep(_TICK_S)
            self.handle(Tick())
            for node in self.core.nodes.values():  # by now its name is known
                if node.connected:
                    self._catalog.serves(node.import_id, node.node, self._names.get(node.node, node.node))

    def handle(self, event: RolloutEvent) -> None:
        """Tells the core, and does what it asks for."""
        if self._traces is not None and isinstance(event, ImportAdded):
            self._traces.added(event.import_id)
        self._perform(self.core.handle(event, time.monotonic()))
        if (strange := self.core.strange) != self._told_strange:
            self._tell_strange(strange)

    def strange_by_name(self) -> dict[str, bool]:
        """Of each node, whether it serves an import of somebody else."""
        return {self._names.get(node, node): node in self.core.strange for node in self.core.nodes}

    def _tell_strange(self, strange: dict[str, int]) -> None:
        for node, import_id in strange.items():
            if self._told_strange.get(node) != import_id:
                name = self._names.get(node, node)
                logger.error("%s serves import %d, which this pusher never gave to anybody", name, import_id)
        self._told_strange = strange

    def heard(self, news: NodeStands | MembersChanged) -> None:
        """A node stands otherwise, or there are other nodes, or another primary."""
        for event in for_rollout(news):
            self.handle(event)

    def _perform(self, actions: list[RolloutAction]) -> None:
        for action in actions:
            match action:
                case Load():
                    task = self._background.start(self._run_load(action), f"import {action.import_id} on {action.node}")
                    self._load = (action.attempt, task)
                case CancelLoad(_, _, attempt):
                    if self._load is not None and self._load[0] == attempt:
                        self._load[1].cancel()
                case RecordTaken() | RecordPlace():
                    if self._traces is not None and isinstance(action, RecordPlace):
                        self._traces.placed(action.import_id, action.place, action.reason)
                    self._records.put_nowait(action)
                case Announce(import_id):
                    logger.info("import %d is in force", import_id)
                    self._tell(LogEndChanged(import_id))

    async def _record(self) -> None:
        """Records states in order; tries each until there is room for it."""
        while True:
            action = await self._records.get()
            while True:
                try:
                    await self._record_one(action)
                    break
                except LogStoreError as error:
                    logger.error("import %d can't be recorded: %s; tries again", action.import_id, error)
                    await asyncio.sleep(_RECORD_AGAIN_S)

    async def _record_one(self, action: RecordPlace | RecordTaken) -> None:
        if isinstance(action, RecordTaken):
            await self._catalog.set_taken(action)
            self.handle(Recorded(action.import_id))
            return
        level = logging.WARNING if action.place is ImportPlace.REFUSED else logging.INFO
        logger.log(level, "import %d is %s %s", action.import_id, action.place, action.reason)
        await self._catalog.set_place(action.import_id, action.place)

    # -- one load

    async def _run_load(self, load: Load) -> None:
        manifest = self._catalog.status(load.import_id).manifest
        address, log_id = self._source()
        request = treenode_pb2.LoadImportRequest(
            manifest=manifest,
            sources=[*load.sources, address],
            pusher_address=address,
            as_it_comes=load.as_it_comes,
            log_id=log_id,
            carried_of_import_id=load.carried_of,
        )
        progress = treenode_pb2.LoadImportResponse()
        words = LoadWords(load)
        refused, reason = False, "cancelled"
        channel = open_channel(load.node)
        span = None if self._traces is None else self._traces.loading(load)
        call = partial(treenode_pb2_grpc.TreeNodeServiceStub(channel).LoadImport, request)
        try:
            logger.info("import %d goes to %s", load.import_id, load.node)
            if load.as_it_comes:
                logger.warning(
                    "import %d is taken as it comes: no node can say which updates were held at position %d",
                    load.import_id,
                    manifest.as_of_position,
                )
            async for progress in call() if span is None else call(metadata=span.metadata):
                self._show(load, progress)
                holds = [(each.position, each.member_id, each.removed_position) for each in progress.carried_holds]
                removals = [(each.member_id, each.position) for each in progress.carried_removals]
                self.handle(words.said(progress.phase, progress.carried_positions, progress.reason, holds, removals))
            reason = "the node ended the load before it was done"
        except grpc.aio.AioRpcError as error:
            refused = error.code() is grpc.StatusCode.INVALID_ARGUMENT
            reason = f"{error.code().name}: {error.details()}"
            if refused:
                reason = error.details() or "the file is bad"
        finally:
            await channel.close()
            if span is not None:
                done = progress.phase == treenode_pb2.IMPORT_PHASE_DONE
                span.ended("" if done else reason)
        last = words.ended(reason, refused=refused)
        if last is not None:
            logger.warning("import %d on %s: %s", load.import_id, load.node, reason)
            self._show(load, _refused(progress, reason) if refused else _failed(progress, reason))
            self.handle(last)

    def _show(self, load: Load, progress: treenode_pb2.LoadImportResponse) -> None:
        self._catalog.set_progress(load.import_id, load.node, self._names.get(load.node, load.node), progress)


def _failed(last: treenode_pb2.LoadImportResponse, reason: str) -> treenode_pb2.LoadImportResponse:
    return treenode_pb2.LoadImportResponse(phase=last.phase, percent=last.percent, reason=reason)


def _refused(last: treenode_pb2.LoadImportResponse, reason: str) -> treenode_pb2.LoadImportResponse:
    """What the status alone says, where the node sent no last word of its own."""
    return treenode_pb2.LoadImportResponse(
        phase=treenode_pb2.IMPORT_PHASE_REFUSED,
        rows=last.rows,
        rejected_rows=last.rejected_rows,
        rejected_count=last.rejected_count,
        reason=last.reason or reason,
    )
