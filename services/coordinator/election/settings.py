"""The times that an election goes by."""

from __future__ import annotations

from collections.abc import Iterator

from services.shared.config.bounds import KeptSeconds, Seconds, SecondsFrom0
from services.shared.config.sections import Problem, Settings


class ElectionSettings(Settings, frozen=True, kw_only=True):
    """Times of the election, in seconds."""

    #: How long a node is taken for alive after a heartbeat, in seconds. Nodes should send four in that time. A dead
    #: primary is replaced when its lease has run out; a shorter lease takes a slow node for a dead one more easily.
    lease_s: Seconds = 1.0
    #: How long a switchover's target may take to catch up with the primary, in seconds.
    switchover_timeout_s: Seconds = 30.0
    #: How long the target may then take for the old primary's last updates, in seconds.
    closing_s: Seconds = 1.0
    #: How often both are asked for their position meanwhile, in seconds.
    probe_interval_s: Seconds = 0.01
    #: A write to the store that failed is tried again after this long, in seconds.
    write_again_s: Seconds = 0.25
    #: While nothing has to be written after that, what is stored is written anew this often, in seconds, until that
    #: succeeds: so it is known whether the store takes writes again.
    rehearse_s: Seconds = 10.0
    #: How long a node that was elected and did not take the role lets others go first, in seconds.
    demotion_s: SecondsFrom0 = 10.0
    #: How long a dead node that is not in the host file stays listed, in seconds.
    forget_s: KeptSeconds = 600.0

    @property
    def vouch_s(self) -> float:
        """How long one of several coordinators vouches for a primary, at most: less than its lease, by the time after
        which a silent one is given notice."""
        return 0.6 * self.lease_s

    @property
    def heard_of_all_s(self) -> float:
        """A coordinator has heard of every live node so long after its start: a node gives a stream up that was silent
        for two leases, and comes back within one more."""
        return 3.0 * self.lease_s

    def problems(self) -> Iterator[Problem]:
        """Times that leave no time for what must happen within them."""
        if self.probe_interval_s >= self.closing_s:
            yield Problem("probe_interval_s", f"must be less than closing_s, which is {self.closing_s:g}")
