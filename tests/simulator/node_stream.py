"""The node's side of one ApplyUpdates stream: performs what the real core (`services/treenode/replication/stream.py`)
asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.treenode.node.sequence_events import (
    PusherHello,
)
from services.treenode.replication.stream import (
    Answer,
    ApplySlice,
    AwaitTurn,
    Came,
    EndAsked,
    EndStream,
    Free,
    NoteRecord,
    Opened,
    Problem,
    ReadRecords,
    RecordsRead,
    SliceApplied,
    StreamAction,
    StreamCore,
    StreamEvent,
    Turn,
)
from tests.simulator import node_halts as halts
from tests.simulator.messages import Batch, Record, Response, Status
from tests.simulator.network import End

if TYPE_CHECKING:
    from tests.simulator.node_process import NodeProcess

CODES = {
    Problem.REFUSED: "FAILED_PRECONDITION",
    Problem.ABORTED: "ABORTED",
    Problem.GAP: "DATA_LOSS",
    Problem.DAMAGED: "DATA_LOSS",
}


class NodeStream:
    """One stream."""

    def __init__(self, node: NodeProcess, end: End, hello: PusherHello) -> None:
        self._node = node
        self._end = end
        self._core = StreamCore(node.core, node.handle)
        self._records: tuple[Record, ...] = ()
        #: Whether something is being done, and the core is not asked what is next.
        self._busy = False
        end.on_message = self._came
        actions = self._handle(Opened(hello))
        if hello.log_id == node.core.sequence.log_id:
            halts.hear_skips(node, hello.skipped)
        self._perform(actions)

    def ask_to_end(self, reason: str) -> None:
        """A newer stream took the place of this one."""
        self._handle(EndAsked(reason))
        self.look()

    def look(self) -> None:
        """Something may be due: a message, or a word of the node's own."""
        while not self._busy and self._end.open and (actions := self._handle(Free())):
            self._perform(actions)

    def _handle(self, event: StreamEvent) -> list[StreamAction]:
        actions = self._core.handle(event)
        self._core.validate()
        return actions

    def _came(self, batch: Batch) -> None:
        first = batch.records[0][0] if batch.records else 0
        self._handle(Came(first, len(batch.records), batch.log_end, batch.records))
        self.look()

    def _perform(self, actions: list[StreamAction]) -> None:
        for action in actions:
            match action:
                case Answer():
                    self._answer(with_status=action.with_status)
                case ReadRecords(contents):
                    self._records = tuple(record for records in contents for record in records)
                    self._perform(self._handle(RecordsRead([position for position, _ in self._records])))
                case AwaitTurn():
                    self._busy = True
                    self._node.await_turn(self._take_turn)
                case NoteRecord(index):
                    self._node.note_record(self._records[index])
                case EndStream(problem, reason):
                    self._node.tell(f"ends the pusher's stream: {reason}")
                    self._end.close(CODES[problem])
                case ApplySlice():
                    raise AssertionError("slices are applied in their turn")

    def _take_turn(self) -> None:
        self._busy = False
        if not self._end.open:
            return  # the call was cancelled
        actions = self._handle(Turn(self._node.world.random.choice((3, 10, 1000))))
        if actions and isinstance(actions[0], ApplySlice):
            failed = self._node.apply(self._records[actions[0].start : actions[0].end])
            actions = self._handle(failed or SliceApplied())
            self._node.moved()
            halts.check_skips(self._node)
        self._perform(actions)
        self.look()

    def _answer(self, *, with_status: bool) -> None:
        node, sequence = self._node, self._node.core.sequence
        status = None
        if with_status:
            record = node.in_force.last_record
            known = (record[0], record[1]) if record[1] is not None else None
            halted_before = sequence.halt.before if sequence.halt is not None else 0
            status = Status(sequence.log_id, sequence.import_id, sequence.position, known, halted_before)
        self._end.send(Response(status, sequence.position))
