"""What imports can be set to: how patient a rollout is, and what is kept for how long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from services.shared.config.bounds import Count, KeptSeconds, Seconds, SecondsFrom0
from services.shared.config.sections import Problem, Settings


class RolloutSettings(Settings, frozen=True, kw_only=True):
    """Patience of the rollout, and how many canaries may die."""

    #: How long a new import waits for a node that is not the primary to try it first, in seconds.
    canary_patience_s: SecondsFrom0 = 10.0
    #: After so many nodes failed in the middle of it, an import that no node has taken is refused.
    canary_deaths_max: Count = 3
    #: A load that shows no progress for so long is given up, in seconds.
    load_stall_s: Seconds = 120.0
    #: A load that is not over after so long is given up, whatever progress it shows, in seconds.
    load_s_max: Seconds = 3_600.0
    #: First wait before a node whose load failed is asked again, in seconds; each further one is twice as long.
    load_backoff_initial_s: Seconds = 1.0
    #: Longest wait before a node whose load failed is asked again, in seconds.
    load_backoff_max_s: Seconds = 60.0

    def problems(self) -> Iterator[Problem]:
        """Waits grow."""
        if self.load_backoff_initial_s > self.load_backoff_max_s:
            mend = f"must be at most load_backoff_max_s, which is {self.load_backoff_max_s:g}"
            yield Problem("load_backoff_initial_s", mend)


class RetentionSettings(Settings, frozen=True, kw_only=True):
    """How long what is kept."""

    #: Records are kept at least so long, in seconds of the pusher's running time; 0: only for as long as something
    #: needs them.
    retention_age_s: KeptSeconds = 30 * 86_400.0
    #: How long a node that is away keeps the records that it lacks in the log, in seconds; afterwards it takes a
    #: snapshot.
    retention_away_s: KeptSeconds = 7 * 86_400.0
    #: How often old records and old import files are looked for, in seconds.
    retention_poll_s: Seconds = 60.0
    #: Import files that are kept: the one in force, the ones before it and newer ones.
    imports_kept: Annotated[int, Meta(ge=2, le=1_000)] = 3
