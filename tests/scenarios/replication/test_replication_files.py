"""The replication core. Short forms of what comes on a node's newest stream:

stands a 5 [import_id=3] [log_id=x] [differs_at=4]
                    the node says where it stands
sent a [7] [bytes=10]
                    the last `Send` hands records to the transport: up to 7, else all that were asked for
writable a          the transport took them
applied a 7         the node has everything up to there
unread a REASON [damaged=7]
                    the records could not be read
ended a REASON      the stream is over
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

from services.pusher.fanout.events import (
    Applied,
    Connect,
    EndStream,
    NodeConfirmed,
    NodeStands,
    ReadFailed,
    ReplicationEvent,
    Send,
    SendLogEnd,
    Sent,
    Stood,
    StreamEnded,
    Writable,
)
from services.pusher.fanout.progress import NodeReplication, ReplicationBrokenError
from services.pusher.fanout.replication import Replication
from services.pusher.fanout.settings import ReplicationSettings
from tests.scenarios.driver import Table, of_folder


@dataclass(frozen=True)
class Start:
    """The log when the pusher starts, and limits small enough to be met."""

    position: int = 0
    first_position: int = 1
    import_id: int = 0
    settings: ReplicationSettings = field(
        default_factory=lambda: ReplicationSettings(
            batch_updates_max=10, window_updates=25, window_bytes=1000, heartbeat_s=1.0
        )
    )


def make(start: Start) -> Replication:
    """Back-off is always as long as it may be."""
    return Replication(
        start.settings,
        log_id="log",
        first_position=start.first_position,
        position=start.position,
        jitter=lambda: 1.0,
        import_id=start.import_id,
    )


def short(words: list[str], core: Replication) -> object | None:
    if len(words) < 2 or words[1] not in core.nodes:
        return None
    node, session = words[1], core.nodes[words[1]].session
    options = dict(word.split("=") for word in words[2:] if "=" in word)
    match [word for word in words if "=" not in word]:
        case ["stands", _, position]:
            numbers = {
                name: int(options.get(name, 0))
                for name in ("import_id", "differs_at", "halted_before", "fault_position")
            }
            log_id = options.get("log_id", "log").replace("-", "")
            return Stood(node, session, log_id, int(position), halt_reason=options.get("halt_reason", ""), **numbers)
        case ["sent", _, *last]:
            sending = core.nodes[node].sending
            last_position = int(last[0]) if last else sending.last_position if sending else 0
            return Sent(node, session, last_position, int(options.get("bytes", 10)))
        case ["writable", _]:
            return Writable(node, session)
        case ["applied", _, position]:
            return Applied(node, session, int(position))
        case ["unread", _, reason]:
            return ReadFailed(node, session, reason, int(options.get("damaged", 0)))
        case ["ended", _, reason]:
            return StreamEnded(node, session, reason)
    return None


def say(action: Any) -> str | None:
    """An action in a few words; a stream is a node and the number of its session."""
    match action:
        case Connect(node, session):
            return f"connect {node}#{session}"
        case EndStream(node, session, reason):
            return f"end {node}#{session}: {reason}"
        case Send(node, session, first, last):
            return f"send {node}#{session} {first}..{last}"
        case SendLogEnd(node, session):
            return f"heartbeat {node}#{session}"
        case NodeStands(node):
            return f"changed {node}"
        case NodeConfirmed(node, position):
            return f"{node} confirmed {position}"
    return None


def state(core: Replication, now_s: float) -> str:
    """Where each node is."""
    log = f"log {core.first_position}..{core.position}" + (f", import {core.import_id}" if core.import_id else "")
    return "\n".join([log, *(_node(node) for node in core.nodes.values())])


def _node(node: NodeReplication) -> str:
    step = ", in step" if node.in_step else ""
    flight = f", {len(node.in_flight)} on the way" if node.in_flight else ""
    note = f" ({node.note})" if node.note else ""
    halted = f", halted before {node.halted_before}" if node.halted_before else ""
    where = f"applied {node.applied_position}, next {node.next_position}"
    return f"{node.node} {node.state}: {where}{flight}{step}{halted}{note}"


TABLE = Table(
    start=Start(),
    make=make,
    events=get_args(ReplicationEvent),
    state=state,
    errors=(ReplicationBrokenError,),
    short=short,
    say=say,
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
