"""The election core. Short forms of its events:

a passive 7/100 [seq=9] [epoch=2] [known=5] [incarnation=a2] [log=other]
                    a's heartbeat: state, import/position; epoch: it is primary in it
ends a [a2]         a's stream ends
switchover [b]      an operator asks
pause | resume
written | failed REASON
                    what came of the write under way
hosts b a           the host file is edited
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, get_args

from services.coordinator.election.election import ElectionCore, ElectionSettings
from services.coordinator.election.events import (
    Answer,
    ClusterChanged,
    Event,
    Heartbeat,
    HostsChanged,
    NodeState,
    OthersReady,
    PauseAsked,
    PauseDone,
    PauseFailed,
    Persist,
    PersistDone,
    PersistFailed,
    Recorded,
    Refuse,
    ResumeAsked,
    StreamEnded,
    SwitchoverAsked,
    SwitchoverDone,
    SwitchoverFailed,
)
from services.coordinator.election.seat import ElectionError
from services.coordinator.view import note
from tests.scenarios.driver import Table, of_folder


@dataclass(frozen=True)
class Start:
    """What the store and the host file have when the coordinator starts."""

    hosts: tuple[str, ...] = ()
    recorded: Recorded = field(default_factory=Recorded)
    settings: ElectionSettings = field(default_factory=lambda: ElectionSettings(probe_interval_s=0.02))


class ToldElection(ElectionCore):
    """The core, and what the short forms leave out: numbers of requests and heartbeats."""

    def __init__(self, start: Start) -> None:
        super().__init__(start.settings, start.recorded, start.hosts, 0.0)
        self.requests = itertools.count(1)
        self.sequences: dict[str, int] = defaultdict(int)


def short(words: list[str], core: ToldElection) -> object | None:
    match words:
        case ["ends", node, *incarnation]:
            return StreamEnded(node=node, incarnation=incarnation[0] if incarnation else f"{node}1")
        case ["switchover", *to_node]:
            return SwitchoverAsked(request=next(core.requests), to_node=" ".join(to_node))
        case ["pause"]:
            return PauseAsked(request=next(core.requests))
        case ["resume"]:
            return ResumeAsked(request=next(core.requests))
        case ["written"]:
            assert core.ledger.writing is not None, "nothing is being written"
            return PersistDone(recorded=core.ledger.writing)
        case ["failed", *reason]:
            assert core.ledger.writing is not None, "nothing is being written"
            return PersistFailed(recorded=core.ledger.writing, reason=" ".join(reason))
        case ["hosts", *order]:
            return HostsChanged(hosts_order=tuple(order))
        case [node, state, standing, *options] if state.upper() in NodeState.__members__:
            return _heartbeat(core, node, state, standing, dict(option.split("=") for option in options))
    return None


def _heartbeat(core: ToldElection, node: str, state: str, standing: str, options: dict[str, str]) -> Heartbeat:
    incarnation = options.get("incarnation", f"{node}1")
    sequence = int(options.get("seq", core.sequences[incarnation] + 1))
    core.sequences[incarnation] = max(sequence, core.sequences[incarnation])
    import_id, position = standing.split("/")
    return Heartbeat(
        node=node,
        incarnation=incarnation,
        sequence=sequence,
        state=NodeState[state.upper()],
        import_id=int(import_id),
        position=int(position),
        primary_epoch=int(options.get("epoch", 0)),
        known_epoch=int(options.get("known", 0)),
        address=options.get("address", ""),
        log_id=options.get("log", "log"),
    )


def say(action: Any) -> str | None:
    """An action in a few words."""
    match action:
        case Persist(recorded=recorded):
            paused = " paused" if recorded.paused else ""
            return f"write epoch={recorded.epoch} primary={recorded.primary or '-'}{paused}"
        case Answer():
            how = "push" if action.pushed else "answer"
            role = f"{action.role.name} epoch={action.epoch} primary={action.primary or '-'}"
            return f"{how} {action.node}#{action.sequence} {role}{_others(action.others_ready)}"
        case Refuse():
            return f"refuse {action.node} {action.incarnation}: {action.message}"
        case SwitchoverDone():
            took = f"{action.took_s:.3f} s" if action.took_s else "at once"
            return (
                f"request {action.request} done: {action.from_node} to {action.to_node}, epoch {action.epoch}, {took}"
            )
        case SwitchoverFailed():
            return f"request {action.request} failed ({action.problem.name}): {action.message}"
        case PauseDone():
            return f"request {action.request} done: {'paused' if action.paused else 'resumed'}"
        case PauseFailed():
            return f"request {action.request} failed: {action.message}"
        case ClusterChanged():
            return "tell watchers"
    return None


def _others(others: OthersReady | None) -> str:
    """Import and position, with a question mark where not all have been heard."""
    if others is None:
        return ""
    return f" others={others.import_id}/{others.position}{'' if others.complete else '?'}"


def state(core: ToldElection, now_s: float) -> str:
    """The seat, and why it is empty."""
    holder = core.seat.holder
    seat = core.seat.state.value + (f" by {holder.node}" if holder else "")
    text = note(core, now_s)
    return f"seat {seat}, epoch {core.recorded.epoch}{f' ({text})' if text else ''}"


TABLE = Table(
    start=Start(), make=ToldElection, events=get_args(Event), state=state, errors=(ElectionError,), short=short, say=say
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
