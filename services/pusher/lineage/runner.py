"""Tells the lineage's core what happens, keeps its time, and puts an operator's word on disk."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable

from services.pusher.fanout.events import NodeStands
from services.pusher.fanout.members import MembersChanged
from services.pusher.lineage.lineage import Adopted, Door, Lineage, LineageEvent
from services.pusher.lineage.settings import LineageSettings
from services.pusher.log.errors import error_of
from services.pusher.log.store import LogStore, LogStoreError
from services.pusher.log.writer import LogWriter
from services.shared.cores import Tick
from services.shared.serving.errors import FailedPreconditionError, InvalidArgumentError

REASON_LENGTH_MAX = 200
_TICK_S = 0.25

logger = logging.getLogger(__name__)


class LineageRunner:
    """The shell of the lineage's core. Everything on one event loop."""

    def __init__(
        self,
        settings: LineageSettings,
        store: LogStore,
        writer: LogWriter,
        tell: Callable[[Door | Adopted], None],
        *,
        nodes: tuple[str, ...],
        names_nodes_later: bool,
    ) -> None:
        """`nodes`: those that are listed. `tell` hears of each change of the door, and of each adoption once it is
        durable."""
        self._store, self._writer, self._tell = store, writer, tell
        self.core = Lineage(
            settings,
            log_id=store.log_id,
            vouched_for=store.vouched_for and not store.doubted,
            doubted=store.doubted,
            replaced_log_ids=store.replaced_log_ids,
            nodes=nodes,
            names_nodes_later=names_nodes_later,
            now_s=time.monotonic(),
        )
        #: Set while the door is open, or closed for good until somebody acts: nobody waits then.
        self._known = asyncio.Event()
        self._note(self.core.door)

    async def run(self) -> None:
        """Keeps time for the core, until its patience is over."""
        while self.core.deadline_s is not None:
            await asyncio.sleep(_TICK_S)
            self.handle(Tick())

    def handle(self, event: LineageEvent) -> None:
        """Tells the core, and whoever goes by the door."""
        for door in self.core.handle(event, time.monotonic()):
            self._note(door)
            if door.closed and not door.waits:
                logger.error("takes no pushes: %s", door.closed)
            elif not door.closed:
                logger.info("takes pushes: nodes have the past of log %s", self._store.log_id)
            self._tell(door)

    def _note(self, door: Door) -> None:
        if door.waits:
            self._known.clear()
        else:
            self._known.set()

    def heard(self, news: NodeStands | MembersChanged) -> None:
        """What a node said of itself, or which nodes there are."""
        self.handle(news)

    @property
    def closed(self) -> str:
        """Why nothing is taken; empty where it is."""
        return self.core.door.closed

    @property
    def in_force(self) -> str:
        """The log's id, where nodes go on from it or have nothing that says otherwise; else empty."""
        return "" if self.closed else self.core.log_id

    @property
    def is_known(self) -> bool:
        """Whether nobody has to wait to know."""
        return self._known.is_set()

    async def known(self) -> None:
        """Returns once the door is open, or closed until somebody acts."""
        await self._known.wait()

    def check(self) -> None:
        """Raises FailedPreconditionError where somebody has to act first."""
        if self.closed:
            raise FailedPreconditionError(self.closed, reason="LOG_CONTESTED")

    async def adopt(self, reason: str) -> tuple[str, tuple[str, ...]]:
        """Puts this log in the place of those that nodes hold; its id from now on, and those.

        Raises:
            InvalidArgumentError: The reason is none.
            FailedPreconditionError: No node holds another past than this log's.
            ResourceExhaustedError: The disk is full.
            DataLossError: The log is damaged, or its files are gone.
        """
        if not 1 <= len(reason) <= REASON_LENGTH_MAX or not reason.isprintable() or not reason.strip():
            raise InvalidArgumentError(
                f"reason must be 1 to {REASON_LENGTH_MAX} printable characters", field="reason", value=reason
            )
        replaced, own = self.core.contested, self._store.log_id
        if not replaced:
            raise FailedPreconditionError(
                "no node holds the state of another log, or updates that this one lacks: there is nothing to adopt",
                reason="NOTHING_TO_ADOPT",
            )
        # Positions that this log gives out anew must not be taken for those that nodes have.
        log_id = uuid.uuid4().hex if own in replaced else own
        try:
            await self._writer.run(lambda: self._store.adopt(log_id, replaced, reason))
        except LogStoreError as error:
            raise error_of(error, "the adoption can't be kept") from error
        logger.warning("log %s stands in the place of %s: %s", log_id, ", ".join(replaced), reason)
        adopted = Adopted(log_id, self._store.replaced_log_ids, reason)
        self._tell(adopted)
        return log_id, replaced
