"""The core of the pusher's stream, with a node's core behind it. Short forms:

node 1/10            where the node stands: import/position, in the log log-1
hello [end=12] [log=log-1] [replaces=log-1]
records 11..13 [end=20]
                     a message with these, and a word on the log's end
nothing [end=20]     a message without records
free                 nothing is being done: what is next?
read 11..13 [DAMAGE] its records were checked; DAMAGE: what is wrong with the one after them
turn 5               a turn in the gate, with time for 5 updates
applied
failed 12 11         the engine failed at update 12, and the tree stands at 11; - for 11: there is none
end REASON           the stream is to end
node pauses | node goes on
                     updates are paused for a relayout, which is given up then
node takes 2/15      another tree took the live one's place
node hears log-2     the node goes over to another log, by another stream
"""

from __future__ import annotations

from typing import get_args

from services.shared.cores import Tick
from services.treenode.node.cutover_events import Cancelled, RelayoutAsked, TreeBuilt
from services.treenode.node.node import NodeAction, NodeCore, NodeEvent
from services.treenode.node.sequence_events import (
    Halt,
    LogEnd,
    PusherHello,
    TreeTaken,
)
from services.treenode.node.settings import NodeSettings
from services.treenode.replication.stream import (
    Came,
    EndAsked,
    Free,
    Opened,
    RecordsRead,
    SliceApplied,
    SliceFailed,
    StreamAction,
    StreamCore,
    StreamEvent,
    Turn,
)
from tests.scenarios.driver import Table, of_folder


class ToldStream:
    """One stream's core, and the node's, which no time passes for."""

    deadline_s: float | None = None

    def __init__(self, settings: NodeSettings) -> None:
        self.node = NodeCore(settings, 0.0)
        self.stream = StreamCore(self.node, self.tell)

    def tell(self, event: NodeEvent) -> list[NodeAction]:
        """As the node's shell."""
        return self.node.handle(event, 0.0)

    def handle(self, event: StreamEvent | Tick, now_s: float) -> list[StreamAction]:
        """As the stream's core; time does nothing."""
        return [] if isinstance(event, Tick) else self.stream.handle(event)

    def validate(self) -> None:
        """Of both."""
        self.stream.validate()
        self.node.validate()


def short(words: list[str], core: ToldStream) -> object | None:
    """See above."""
    match words:
        case ["node", *what]:
            _happen(what, core)
            return Tick()
        case ["hello", *options]:
            values = _values(options)
            log_id = values.get("log", "log-1")
            import_id = core.node.sequence.import_id if log_id == "log-1" else 0
            log_end = LogEnd(1, int(values.get("end", core.node.sequence.position)), import_id)
            replaced = tuple(filter(None, [values.get("replaces", "")]))
            return Opened(PusherHello(log_id, log_end, (), replaced, "it is lost" if replaced else ""))
        case ["records", positions, *options]:
            span = _span(positions)
            return Came(span[0], len(span), _log_end(options, core), positions)
        case ["nothing", *options]:
            return Came(0, 0, _log_end(options, core), "-")
        case ["free"]:
            return Free()
        case ["read", positions, *damage]:
            return RecordsRead(() if positions == "-" else list(_span(positions)), " ".join(damage))
        case ["turn", updates_max]:
            return Turn(int(updates_max))
        case ["applied"]:
            return SliceApplied()
        case ["failed", before, stands_at]:
            halt = Halt(int(before), int(before), "a defect")
            return SliceFailed(halt, None if stands_at == "-" else int(stands_at))
        case ["end", *reason]:
            return EndAsked(" ".join(reason))
    return None


def _happen(what: list[str], core: ToldStream) -> None:
    """Something happens to the node."""
    match what:
        case ["pauses"]:
            core.tell(RelayoutAsked(1))
            core.tell(TreeBuilt(1, core.node.sequence.position))
        case ["goes", "on"]:
            core.tell(Cancelled(1))
        case ["takes", standing]:
            core.tell(TreeTaken("log-1", *map(int, standing.split("/"))))
        case ["hears", log_id]:
            # An operator has put that log in the place of the node's own: any other one would be refused.
            own = core.node.sequence.log_id
            core.tell(PusherHello(log_id, LogEnd(1, 0, 0), replaced_log_ids=(own,), adopted_reason="it is lost"))
        case [standing]:
            core.tell(TreeTaken("log-1", *map(int, standing.split("/"))))


def _values(words: list[str]) -> dict[str, str]:
    return dict(word.split("=") for word in words if "=" in word)


def _span(text: str) -> range:
    first, _, last = text.partition("..")
    return range(int(first), int(last or first) + 1)


def _log_end(options: list[str], core: ToldStream) -> LogEnd | None:
    end = _values(options).get("end")
    return LogEnd(1, int(end), core.node.sequence.import_id) if end else None


def state(core: ToldStream, now_s: float) -> str:
    """Where the node stands, and how many messages nobody has looked at."""
    sequence = core.node.sequence
    log_end = sequence.log_end.position if sequence.log_end else 0
    waiting = f", {core.stream.waiting} messages wait" if core.stream.waiting else ""
    paused = ", updates paused" if core.node.cutover.paused else ""
    return f"at {sequence.import_id}/{sequence.position} of {log_end}{paused}{waiting}"


TABLE = Table(
    start=NodeSettings(caught_up_lag_updates=0),
    make=ToldStream,
    events=get_args(StreamEvent),
    state=state,
    short=short,
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
