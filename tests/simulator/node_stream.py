"""The node's side of one ApplyUpdates stream, as `services/treenode/replication/stream.py` and `applying.py` serve it.

One message at a time; its records are applied in slices, and before each slice it is asked anew what the node may
take: the tree may have been replaced meanwhile, or another stream may have applied the same records.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from services.treenode.node.sequence import (
    ApplyRecords,
    LogEndHeard,
    PositionGapError,
    PusherHello,
    RecordsApplied,
    RecordsReceived,
    RefusePusher,
)
from tests.simulator.messages import Batch, Record, Response, Status
from tests.simulator.network import End

if TYPE_CHECKING:
    from tests.simulator.node_process import NodeProcess


class NodeStream:
    """One stream; a newer one supersedes it once the message at hand is done."""

    def __init__(self, node: NodeProcess, end: End, hello: PusherHello) -> None:
        self._node = node
        self._end = end
        self._log_id = hello.log_id
        self._inbox: deque[Batch] = deque()
        self._busy = False
        self._superseded = False
        end.on_message = self._receive
        if self._meet(hello):
            self._respond()

    def supersede(self) -> None:
        """A newer stream took the place of this one."""
        self._superseded = True
        if not self._busy:
            self._end.close("ABORTED")

    def _meet(self, hello: PusherHello) -> bool:
        for action in self._node.handle(hello):
            if isinstance(action, RefusePusher):
                self._node.tell(f"refuses the pusher: {action.reason}")
                self._end.close("FAILED_PRECONDITION")
                return False
        self._node.status_wanted = True
        return True

    def _receive(self, batch: Batch) -> None:
        self._inbox.append(batch)
        if not self._busy:
            self._next()

    def _next(self) -> None:
        while self._inbox and not self._busy and self._end.open:
            batch = self._inbox.popleft()
            self._node.handle(LogEndHeard(batch.log_end))
            if not batch.records:
                self._respond()
            elif self._admitted(batch.records) is not False:
                self._busy = True
                self._wait(batch.records)

    def _admitted(self, records: tuple[Record, ...]) -> ApplyRecords | bool | None:
        """What of the records may be applied now; False where they don't follow, and the stream has ended."""
        try:
            actions = self._node.handle(RecordsReceived(range(records[0][0], records[0][0] + len(records))))
        except PositionGapError as gap:
            self._node.tell(f"ends the pusher's stream: {gap}")
            self._end.close("DATA_LOSS")
            return False
        return next((action for action in actions if isinstance(action, ApplyRecords)), None)

    def _wait(self, records: tuple[Record, ...]) -> None:
        node = self._node
        node.timer(node.times.apply_s * node.world.random.random(), self._slice, records)

    def _slice(self, records: tuple[Record, ...]) -> None:
        node = self._node
        if not self._end.open:
            self._busy = False  # the call was cancelled
            return
        if node.loader.holds_back:
            self._wait(records)
            return
        admitted = self._admitted(records)
        if admitted is False:
            self._busy = False
            return
        if isinstance(admitted, ApplyRecords) and node.core.sequence.log_id == self._log_id:
            admitted_records = records[admitted.first :]
            count = min(admitted.count, node.world.random.choice((3, 10, 1000)))
            node.apply(admitted_records[:count])
            node.handle(RecordsApplied(node.tree.position))
            node.moved()
            if count < len(admitted_records):
                self._wait(admitted_records[count:])
                return
        self._busy = False
        self._respond()
        self._next()

    def _respond(self) -> None:
        """How far the node is; where it stands, when it has not told that yet."""
        node, sequence = self._node, self._node.core.sequence
        if self._superseded:
            self._end.close("ABORTED")
            return
        status = None
        if node.status_wanted:
            node.status_wanted = False
            status = Status(sequence.log_id, sequence.import_id, sequence.position, node.tree.record)
        self._end.send(Response(status, sequence.position))
