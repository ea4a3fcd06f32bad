"""Which of several ready nodes goes first in an election."""

from collections.abc import Iterable, Sequence

from services.coordinator.election.events import Action, Recorded
from services.coordinator.election.leases import NodeLease


def is_recorded(lease: NodeLease, recorded: Recorded) -> bool:
    """Whether this very process won the newest election."""
    return (lease.node, lease.incarnation) == (recorded.primary, recorded.primary_incarnation)


def host_rank(lease: NodeLease, hosts_order: Sequence[str]) -> int:
    """The node's place in the host file, from 0; behind all others where it is not in it."""
    place = lease.place_in(hosts_order)
    return len(hosts_order) if place is None else place


def is_electable(lease: NodeLease, hosts_order: Sequence[str]) -> bool:
    """Whether the node may be primary: the VIP goes by the host file, where there is one, and knows no other node."""
    return not hosts_order or lease.place_in(hosts_order) is not None


def best(
    candidates: Iterable[NodeLease], recorded: Recorded, hosts_order: Sequence[str], now_s: float
) -> NodeLease | None:
    """The electable one that goes first, None where there is none: the process that held the seat last, then the
    furthest, then the host file's order, then the name; before all that, those that did not refuse the role lately.
    """

    def rank(lease: NodeLease) -> tuple[object, ...]:
        import_id, position = lease.standing
        demoted = now_s < lease.demoted_until
        held_it_last = is_recorded(lease, recorded)
        return (demoted, not held_it_last, -import_id, -position, host_rank(lease, hosts_order), lease.node)

    electable = [lease for lease in candidates if is_electable(lease, hosts_order)]
    return min(electable, key=rank, default=None)


class OneOfOne:
    """What stands in the way of an election where there is one coordinator: nothing. See `vouching.py` for several."""

    def _prepare(self, now_s: float, actions: list[Action]) -> bool:
        """Has written what must be before an election."""
        return False

    def _may_win(self, winner: NodeLease, now_s: float) -> bool:
        """Whether it may be elected by now."""
        return True
