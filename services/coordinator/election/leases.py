"""The lease table: which process speaks for each node, and until when the coordinator takes it for alive.

Rules:
1. A lease ends `lease_s` after its newest heartbeat was *received*. The node counts from when it *sent* that one,
   which was earlier: so the node always stops first, by its own clock, and nothing depends on the two clocks
   agreeing.
2. A stream that ends says nothing: the lease runs on. Only a node that said goodbye (DRAINING, and no longer primary)
   is taken for gone when its stream ends.
3. Heartbeats of a process count upwards. One that is not above the newest is late or repeated: no lease grows from
   it, and what it says about the role is history.
4. Two processes with one name: the one with a live lease keeps the name, and the other is refused. The newcomer takes
   over as soon as the lease has ended; and at once where the stream has ended and the old process can hold no role,
   so that a passive node that restarts is back without a wait.
5. A node that is dead for long is forgotten, unless the host file has it.
6. The host file has a node by its name, by the address of its report port, or by that of one host under a shorter or
   longer name ("ftsp01:50100" is "ftsp01.example.com:50100").
7. A node that is not ready is told how far the ready ones are, so that one which hears no pusher does not begin to
   answer with less than they do. Only those of its own log count: imports and positions of two logs can't be compared.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from services.coordinator.election.events import READY_STATES, Heartbeat, NodeState, OthersReady


class LeaseError(AssertionError):
    """The table broke one of its own rules."""


class Verdict(Enum):
    """What became of a heartbeat."""

    TAKEN = "taken"
    STALE = "stale"
    REFUSED = "refused"


@dataclass
class NodeLease:
    """One node: its process, what its newest heartbeat said, and how long it is taken for alive."""

    #: The newest heartbeat of the process that holds the name.
    last: Heartbeat
    #: When that one was received.
    heard_at: float
    #: `heard_at + lease_s`, or earlier after a goodbye.
    ends_at: float
    #: Whether the newest stream of the process still stands.
    connected: bool = True
    #: Until then other nodes go first in elections: it was elected and did not take the role.
    demoted_until: float = float("-inf")

    @property
    def node(self) -> str:
        """The node's name."""
        return self.last.node

    @property
    def incarnation(self) -> str:
        """The process that holds the name."""
        return self.last.incarnation

    @property
    def standing(self) -> tuple[int, int]:
        """How far its tree is: (import, position). Greater is further."""
        return (self.last.import_id, self.last.position)

    def is_alive(self, now_s: float) -> bool:
        """Whether the lease runs."""
        return now_s < self.ends_at

    def place_in(self, hosts_order: Sequence[str]) -> int | None:
        """Its place in the host file, from 0; None where it is not in it (rule 6)."""
        for place, host in enumerate(hosts_order):
            if host in (self.node, self.last.address) or _same_host(host, self.last.address):
                return place
        return None

    def is_ready(self, now_s: float) -> bool:
        """Whether it is alive and answers reports."""
        return self.is_alive(now_s) and self.last.state in READY_STATES


def _same_host(one: str, other: str) -> bool:
    """Whether two addresses are of one port, on hosts of which one is the other's name without a domain."""
    (host, _, port), (other_host, _, other_port) = one.rpartition(":"), other.rpartition(":")
    if not host or port != other_port or host.replace(".", "").isdigit():
        return False
    return host.startswith(f"{other_host}.") or other_host.startswith(f"{host}.")


class LeaseTable:
    """All nodes that were heard of, by name."""

    def __init__(self, lease_s: float, forget_s: float) -> None:
        self._lease_s = lease_s
        self._forget_s = forget_s
        self._leases: dict[str, NodeLease] = {}

    def __iter__(self) -> Iterator[NodeLease]:
        return iter(self._leases.values())

    def __len__(self) -> int:
        return len(self._leases)

    def get(self, node: str) -> NodeLease | None:
        """The node's lease, alive or not; None if it was never heard of."""
        return self._leases.get(node)

    def process(self, node: str, incarnation: str) -> NodeLease | None:
        """The lease of exactly this process; None if another one holds the name now."""
        lease = self._leases.get(node)
        return lease if lease is not None and lease.incarnation == incarnation else None

    def held_log(self) -> str:
        """The log whose state more than half of the nodes hold, of those that hold any, as each said last; empty where
        there is none."""
        held = Counter(lease.last.log_id for lease in self if lease.last.log_id)
        return next((log_id for log_id, count in held.items() if 2 * count > held.total()), "")

    def ready_beside(self, lease: NodeLease, now_s: float, *, complete: bool) -> OthersReady | None:
        """What rule 7 has the node told; None where it is ready itself. `complete`: all nodes had time to be heard."""
        log_id = lease.last.log_id
        if lease.last.state in READY_STATES:
            return None
        others = [other.last for other in self if other is not lease and other.is_ready(now_s)]
        same_log = [other for other in others if log_id and other.log_id == log_id]
        return OthersReady(
            complete=complete,
            import_id=max((other.import_id for other in same_log), default=0),
            position=max((other.position for other in same_log), default=0),
        )

    def take(self, heartbeat: Heartbeat, now_s: float, *, may_hold_role: bool) -> Verdict:
        """Takes a heartbeat in (rules 1, 3, 4). `may_hold_role`: the process that has the name now may be primary."""
        lease = self._leases.get(heartbeat.node)
        if lease is not None and lease.incarnation == heartbeat.incarnation:
            if heartbeat.sequence <= lease.last.sequence:
                return Verdict.STALE
            lease.last, lease.connected = heartbeat, True
            lease.heard_at, lease.ends_at = now_s, now_s + self._lease_s
            return Verdict.TAKEN
        if lease is not None and lease.is_alive(now_s) and (lease.connected or may_hold_role):
            return Verdict.REFUSED
        self._leases[heartbeat.node] = NodeLease(last=heartbeat, heard_at=now_s, ends_at=now_s + self._lease_s)
        return Verdict.TAKEN

    def end_stream(self, node: str, incarnation: str, now_s: float, *, may_hold_role: bool) -> None:
        """Notes that the process's stream has ended (rule 2)."""
        lease = self.process(node, incarnation)
        if lease is None:
            return
        lease.connected = False
        if lease.last.state is NodeState.DRAINING and not may_hold_role:
            lease.ends_at = min(lease.ends_at, now_s)

    def forget_gone(self, hosts_order: Sequence[str], now_s: float) -> None:
        """Drops those that are long gone (rule 5)."""
        for lease in [*self]:
            if now_s >= self._forgotten_at(lease, hosts_order):
                del self._leases[lease.node]

    def times(self, hosts_order: Sequence[str]) -> Iterator[float]:
        """When something becomes different by time alone."""
        for lease in self:
            yield lease.ends_at
            yield self._forgotten_at(lease, hosts_order)

    def _forgotten_at(self, lease: NodeLease, hosts_order: Sequence[str]) -> float:
        return math.inf if lease.place_in(hosts_order) is not None else lease.ends_at + self._forget_s

    def shown(self, now_s: float) -> list[object]:
        """What watchers want to hear of each change of."""
        return [
            (lease.node, lease.incarnation, lease.is_alive(now_s), lease.last.state, lease.last.import_id)
            for lease in self
        ]

    def validate(self) -> None:
        """Raises LeaseError where a rule is broken."""
        for name, lease in self._leases.items():
            if lease.node != name:
                raise LeaseError(f"the lease of {lease.node} is filed under {name}")
            if lease.ends_at > lease.heard_at + self._lease_s:
                raise LeaseError(f"the lease of {name} outlives its newest heartbeat by more than {self._lease_s} s")
