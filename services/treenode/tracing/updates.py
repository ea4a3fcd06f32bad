"""Updates that came with a context: each is in the tree of its own trace as *process*, and a slice with some of them is
a span of its own, with a link to each (OpenTelemetry's conventions for messages).

A record that is read later on, by a node that was away, goes on with its trace as one that came at once does. What is
applied anew, from an import's file on, is not told again: the import is a trace itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from fasttree.v1 import treenode_pb2, types_pb2
from services.shared.telemetry.context import TraceContext, new_trace, of_bytes
from services.shared.telemetry.spans import Kind, Value
from services.shared.telemetry.tracer import Tracer
from services.treenode.tree import NotApplied

_SYSTEM, _DESTINATION = "fasttree", "log"


class AppliedTraces:
    """Those of one pusher's stream at a time. Everything on the event loop."""

    def __init__(self, tracer: Tracer, node: str) -> None:
        self._tracer = tracer
        self._node = node
        #: Of the records at hand, in their order.
        self._waiting: list[tuple[int, TraceContext]] = []
        #: Of the first of them that is traced; 0: none is.
        self.trace_id = 0

    def came(self, records: Sequence[treenode_pb2.LogRecord]) -> None:
        """A batch was taken: what was left of the one before is given up."""
        self._waiting = [
            (record.position, context)
            for record in records
            if record.trace and (context := of_bytes(record.trace)) is not None
        ]
        self.trace_id = self._waiting[0][1].trace_id if self._waiting else 0

    def applied(
        self, first_position: int, count: int, not_applied: Sequence[NotApplied], came_s: float, turn_s: float
    ) -> None:
        """A slice is in the tree. `came_s`: when its batch came; `turn_s`: when its turn did."""
        if not self._waiting:
            return
        end = first_position + count
        here = [each for each in self._waiting if first_position <= each[0] < end]
        if not here:
            return
        self._waiting = [each for each in self._waiting if each[0] >= end]
        outcomes = {each.position: types_pb2.Outcome.Name(each.outcome) for each in not_applied}
        now_s = time.perf_counter()
        for position, context in here:
            attributes = self._attributes("process")
            attributes["fasttree.log.position"] = position
            attributes["fasttree.outcome"] = outcomes.get(position, "OUTCOME_APPLIED").removeprefix("OUTCOME_")
            attributes["fasttree.wait_s"] = max(0.0, turn_s - came_s)
            self._tracer.tell(
                f"process {_DESTINATION}", Kind.CONSUMER, context.child(), context, came_s, attributes, ended_s=now_s
            )
        if len(here) > 1:
            attributes = self._attributes("process batch")
            attributes["messaging.batch.message_count"] = count
            links = [context for _, context in here]
            self._tracer.tell(
                f"process batch {_DESTINATION}",
                Kind.CONSUMER,
                new_trace(),
                None,
                turn_s,
                attributes,
                ended_s=now_s,
                links=links,
            )

    def _attributes(self, name: str) -> dict[str, Value]:
        return {
            "messaging.system": _SYSTEM,
            "messaging.destination.name": _DESTINATION,
            "messaging.operation.name": name,
            "messaging.operation.type": "process",
            "messaging.consumer.group.name": self._node,
        }
