"""One update is one trace: which ones are traced, and the spans of their way through the pusher.

The rules, by OpenTelemetry's conventions for messages
------------------------------------------------------
1. An update that the client sends a context with goes on with that trace. Of a call with a traceparent, so do the first
   `telemetry.call_updates_max` updates; one whose caller is not traced is not either. All others are traced by chance,
   and begin a trace of their own. No more than `telemetry.traces_per_s_max` in all.
2. *append* is from the message's arrival to the disk. Its context is the one that the update was made in, as far as
   anybody behind it is concerned: it stands beside the record, and each node goes on from it.
3. *send* is a batch to one node, with a link to each traced update in it. Where that is a single one, it is in its
   trace; else it has a trace of its own.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from fasttree.v1 import pusher_pb2
from services.pusher.admission.batch import Batch
from services.pusher.log.group_commit import Committed, NotStored, Push
from services.pusher.log.store import Appended
from services.shared.telemetry.context import Parent, TraceContext, new_trace, of_bytes
from services.shared.telemetry.own import own_tracer
from services.shared.telemetry.spans import Kind, Value
from services.shared.telemetry.tracer import Tracer
from services.shared.wire.record import traced_content

#: Positions of traced updates that are remembered for the fan-out; those of a node that is further behind have no
#: *send*.
_REMEMBERED_MAX = 8_192
SYSTEM = "fasttree"
DESTINATION = "log"


class Traced(NamedTuple):
    """One update of a push that is traced."""

    #: Among the push's well-formed updates.
    at: int
    update_id: str
    #: Of its *append*.
    context: TraceContext
    parent: TraceContext | None
    came_s: float


class UpdateTraces:
    """Everything on the event loop."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        #: By the number of the push that they are in.
        self._pending: dict[int, Sequence[Traced]] = {}
        #: Newest last, by position; both alike.
        self._positions: list[int] = []
        self._contexts: list[TraceContext] = []

    def marked(
        self, request: pusher_pb2.PushUpdatesRequest, batch: Batch[bytes], parent: Parent | None, before: int
    ) -> Batch[bytes]:
        """The batch, with the contexts of those of its updates that are traced. `parent`: what the call's caller says
        of its trace; `before`: updates of the call that came before."""
        chosen: Iterable[tuple[int, TraceContext | None]]
        if request.traces:
            chosen = self._asked_for(request, batch)
        elif parent is not None and before < self._tracer.settings.call_updates_max:
            most = min(len(batch.contents), self._tracer.settings.call_updates_max - before)
            chosen = ((index, parent.context) for index in range(most)) if parent.sampled else ()
        else:
            # Used up whatever becomes of them: the share is of all updates.
            chosen = [(index, None) for index in self._tracer.updates.chosen(len(batch.contents))]
            if not chosen:
                return batch
        came_s = time.perf_counter()
        traced = [
            Traced(index, batch.update_ids[index], new_trace() if above is None else above.child(), above, came_s)
            for index, above in chosen
            if self._tracer.updates.may(came_s)
        ]
        if not traced:
            return batch
        contents = list(batch.contents)
        for each in traced:
            contents[each.at] = traced_content(contents[each.at], each.context.to_bytes())
        return replace(batch, contents=contents, traced=traced)

    def _asked_for(
        self, request: pusher_pb2.PushUpdatesRequest, batch: Batch[bytes]
    ) -> Iterable[tuple[int, TraceContext | None]]:
        """Those that came with a context, by their index among the well-formed ones, each once."""
        malformed = sorted(batch.malformed)
        seen: set[int] = set()
        for told in request.traces:
            context = of_bytes(told.context)
            if context is None or told.index in seen or told.index in batch.malformed or told.index >= batch.updates:
                continue
            seen.add(told.index)
            index = told.index - bisect_left(malformed, told.index)
            if index < len(batch.contents):
                yield index, context

    def appending(self, push: Push[bytes]) -> None:
        """A push goes to the log."""
        if push.traced:
            self._pending[push.number] = push.traced

    def committed(self, news: Committed) -> None:
        """What became of a commit's pushes."""
        if not self._pending:
            return
        group = 0
        for number, result in news.results:
            traced = self._pending.pop(number, ())
            if not traced:
                continue
            group = group or sum(len(each.positions) for _, each in news.results if not isinstance(each, NotStored))
            for each in traced:
                self._append_ended(each, result, group)

    def _append_ended(self, traced: Traced, result: Appended | NotStored, group: int) -> None:
        attributes = _attributes("append", "send")
        attributes["messaging.message.id"] = traced.update_id
        position, error = 0, ""
        if isinstance(result, NotStored):
            error = result.problem.value
        else:
            position = result.positions[traced.at]
            error = result.refusals.get(traced.at, "") or ("conflict" if not position else "")
            attributes["fasttree.log.position"] = position
            attributes["fasttree.log.commit_updates"] = group
            if traced.at in result.duplicates:
                attributes["fasttree.log.duplicate"] = True
        if error:
            attributes["error.type"] = "not_stored"
        elif "fasttree.log.duplicate" not in attributes:
            self._remember(position, traced.context)
        self._tracer.tell(
            f"append {DESTINATION}",
            Kind.PRODUCER,
            traced.context,
            traced.parent,
            traced.came_s,
            attributes,
            error=error,
        )

    def _remember(self, position: int, context: TraceContext) -> None:
        if self._positions and position <= self._positions[-1]:
            return  # of another log, or told out of order: no span is worth a wrong one
        self._positions.append(position)
        self._contexts.append(context)
        if len(self._positions) >= 2 * _REMEMBERED_MAX:
            del self._positions[:_REMEMBERED_MAX], self._contexts[:_REMEMBERED_MAX]

    def sent(self, node: str, first_position: int, last_position: int, begun_s: float) -> None:
        """A batch was written to a node's stream."""
        positions = self._positions
        if not positions or positions[-1] < first_position:
            return
        start = bisect_left(positions, first_position)
        end = bisect_right(positions, last_position, start)
        if start == end:
            return
        links = self._contexts[start:end]
        alone = links[0] if len(links) == 1 else None
        attributes = _attributes("send", "send")
        attributes["messaging.batch.message_count"] = last_position - first_position + 1
        host, _, port = node.rpartition(":")
        attributes["server.address"] = host
        attributes["server.port"] = int(port) if port.isdigit() else 0
        context = new_trace() if alone is None else alone.child()
        self._tracer.tell(f"send {DESTINATION}", Kind.CLIENT, context, alone, begun_s, attributes, links=links)


def update_traces() -> UpdateTraces | None:
    """Of this process; None where nobody asked for any."""
    tracer = own_tracer()
    return None if tracer is None else UpdateTraces(tracer)


def _attributes(name: str, kind: str) -> dict[str, Value]:
    return {
        "messaging.system": SYSTEM,
        "messaging.destination.name": DESTINATION,
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
    }
