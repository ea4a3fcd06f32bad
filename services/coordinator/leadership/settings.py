"""The times by which coordinators take turns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from services.shared.config.bounds import Seconds
from services.shared.config.sections import Problem, Settings


class LeadershipSettings(Settings, frozen=True, kw_only=True):
    """Of the lease among coordinators, where the store is `kubernetes` or `etcd`."""

    #: Of several coordinators (store kubernetes or etcd): one that was active and is silent is replaced after so long,
    #: in whole seconds. The longest of all of theirs counts. On etcd, 2 with a margin and renewals of 0.5 s does well.
    active_lease_s: Annotated[int, Meta(ge=2, le=3_600)] = 4
    #: The active one stops so much before its lease can be another's, in seconds: clocks may drift apart meanwhile.
    active_margin_s: Seconds = 1.0
    #: The lease is renewed, and by the others looked at, this often, in seconds.
    active_renew_s: Seconds = 0.75

    def problems(self) -> Iterator[Problem]:
        """A renewal that failed once must not cost the lease."""
        longest_s = (self.active_lease_s - self.active_margin_s) / 2
        if self.active_renew_s > longest_s:
            yield Problem(
                "active_renew_s",
                f"must be at most half of active_lease_s less active_margin_s, which is {longest_s:g}",
            )
