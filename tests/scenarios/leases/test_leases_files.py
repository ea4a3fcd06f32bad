"""The lease table, behind a door of its own. Short form of a heartbeat: `a1 5 passive` is sequence 5 of a's process a1,
and `a1 5 passive held` comes while a process of that name may hold the role.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from services.coordinator.election.events import Heartbeat, NodeState
from services.coordinator.election.leases import LeaseTable, NodeLease, Verdict
from services.shared.cores import Tick
from tests.scenarios.driver import Table, of_folder
from tests.scenarios.language import write_value


@dataclass(frozen=True)
class Start:
    """How long a lease runs, and how long a dead node is remembered that is not in the host file."""

    lease_s: float = 1.0
    forget_s: float = 5.0
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Heard:
    """A heartbeat is received."""

    heartbeat: Heartbeat
    may_hold_role: bool = False


@dataclass(frozen=True)
class Ended:
    """The stream of a process has ended."""

    node: str
    incarnation: str
    may_hold_role: bool = False


class Leases:
    """The table as a core: each call an event, each verdict an action."""

    def __init__(self, start: Start) -> None:
        self.table = LeaseTable(start.lease_s, start.forget_s)
        self.hosts = start.hosts
        self.now_s = 0.0

    def handle(self, event: Heard | Ended | Tick, now_s: float) -> list[Verdict]:
        """By time alone, nodes are forgotten."""
        self.now_s = now_s
        match event:
            case Heard(heartbeat, may_hold_role):
                return [self.table.take(heartbeat, now_s, may_hold_role=may_hold_role)]
            case Ended(node, incarnation, may_hold_role):
                self.table.end_stream(node, incarnation, now_s, may_hold_role=may_hold_role)
            case Tick():
                self.table.forget_gone(self.hosts, now_s)
        return []

    @property
    def deadline_s(self) -> float | None:
        """The first time that the table names; past ones are done with."""
        return min([time for time in self.table.times(self.hosts) if self.now_s < time < math.inf], default=None)

    def validate(self) -> None:
        """The table's own."""
        self.table.validate()


def short(words: list[str], core: Leases) -> object | None:
    match words:
        case [incarnation, sequence, name, *held] if sequence.isdigit() and name.upper() in NodeState.__members__:
            heartbeat = Heartbeat(
                node=incarnation[0], incarnation=incarnation, sequence=int(sequence), state=NodeState[name.upper()]
            )
            return Heard(heartbeat, may_hold_role=held == ["held"])
    return None


def state(core: Leases, now_s: float) -> str:
    """Who is taken for alive, and until when."""
    return "\n".join(_lease(lease, core.table, now_s) for lease in core.table) or "nobody"


def _lease(lease: NodeLease, table: LeaseTable, now_s: float) -> str:
    alive = "ready" if lease.is_ready(now_s) else "alive" if lease.is_alive(now_s) else "dead"
    stream = "" if lease.connected else ", no stream"
    filed = table.get(lease.node) is table.process(lease.node, lease.incarnation) is lease
    return f"{lease.incarnation}#{lease.last.sequence} {alive} until {write_value(lease.ends_at)}{stream}" + (
        "" if filed else ", filed wrongly"
    )


TABLE = Table(start=Start(), make=Leases, events=(Heard, Ended), state=state, short=short)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
