"""The nodes of the cluster, as far as they are known, and what a change of them means for the fan-out."""

from __future__ import annotations

from dataclasses import dataclass

from services.pusher.fanout.events import NodeAppeared, NodesKnown


@dataclass(frozen=True, slots=True)
class Members:
    """The nodes, in host-file order and then as the coordinator lists them."""

    addresses: tuple[str, ...] = ()
    #: Name by address, where the coordinator said it.
    names: tuple[tuple[str, str], ...] = ()
    primary: str | None = None
    #: Addresses of nodes whose lease runs.
    alive: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class MembersChanged:
    """The members before and now; not the same."""

    before: Members
    now: Members

    def for_fan_out(self) -> list[NodesKnown | NodeAppeared]:
        """What the fan-out core is told: whom it feeds, and who is heard of again."""
        known = [NodesKnown(self.now.addresses)] if self.now.addresses != self.before.addresses else []
        return [*known, *(NodeAppeared(address) for address in sorted(self.now.alive - self.before.alive))]
