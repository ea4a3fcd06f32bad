"""What admission can be set to."""

from __future__ import annotations

from collections.abc import Iterator

from services.shared.config.bounds import Count, Seconds
from services.shared.config.sections import Problem, Settings


class AdmissionSettings(Settings, frozen=True, kw_only=True):
    """Limits of what may be under way, and how long a receipt may wait."""

    #: Updates of one stream that may lack their receipts; the client is held back beyond it. (Long ones count several
    #: times.)
    push_stream_updates_max: Count = 10_000
    #: Updates of all streams together that may wait for the disk.
    push_updates_max: Count = 50_000
    #: How long a receipt may wait for nodes (ack levels beyond durable), unless the call's own deadline is earlier.
    ack_timeout_s: Seconds = 10.0

    def problems(self) -> Iterator[Problem]:
        """One stream's share is a part of the whole."""
        if self.push_stream_updates_max > self.push_updates_max:
            yield Problem(
                "push_stream_updates_max", f"must be at most push_updates_max, which is {self.push_updates_max}"
            )
