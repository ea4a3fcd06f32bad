"""The times by which coordinators take turns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from services.shared.config.bounds import Seconds
from services.shared.config.sections import Problem, Settings

#: What failed is tried again after this long, in seconds.
RETRY_S = 0.25
#: No call to the store is given less than this, or more, in seconds.
_CALL_S_MIN, _CALL_S_MAX = 0.2, 1.0


class LeadershipSettings(Settings, frozen=True, kw_only=True):
    """Of the lease among coordinators, where the store is `kubernetes`, `etcd` or `postgresql`."""

    #: Of several coordinators (any store but sqlite): one that was active and is silent is replaced after so long,
    #: in whole seconds, and `active_renew_s`. The longest of all of theirs counts.
    active_lease_s: Annotated[int, Meta(ge=2, le=3_600)] = 2
    #: The active one stops so much before its lease can be another's, in seconds: clocks may drift apart meanwhile.
    active_margin_s: Seconds = 0.3
    #: The lease is renewed, and by the others looked at, this often, in seconds.
    active_renew_s: Seconds = 0.4

    @property
    def replaced_within_s(self) -> float:
        """Until another one may take the place of one that died, at the latest, but for two calls to the store: it
        looked just before the last renewal, finds that at its next look, and waits a whole lease from then on."""
        return self.active_lease_s + self.active_renew_s

    @property
    def silence_s(self) -> float:
        """One that was seen not to renew for so long missed two renewals: it may be gone. Nothing that has to be safe
        hangs on it."""
        return 2 * self.active_renew_s

    @property
    def call_timeout_s(self) -> float:
        """What a call to the store has to end in. So that one renewal without an answer costs nothing, two of them, and
        the wait between them, end within the right that the renewal before them gave."""
        return min(_CALL_S_MAX, (self.active_lease_s - self.active_margin_s - self.active_renew_s - RETRY_S) / 2)

    def problems(self) -> Iterator[Problem]:
        """A renewal that failed once must not cost the lease."""
        right_s = self.active_lease_s - self.active_margin_s
        longest_s = min(right_s / 2, right_s - RETRY_S - 2 * _CALL_S_MIN)
        if self.active_renew_s > longest_s:
            yield Problem(
                "active_renew_s",
                f"must be at most {longest_s:g}: a renewal without an answer, and another one, have to end in "
                "active_lease_s less active_margin_s",
            )
