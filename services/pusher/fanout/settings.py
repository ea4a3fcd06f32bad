"""What the fan-out can be set to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from services.shared.config.bounds import Bytes, Count, Seconds, SecondsFrom0
from services.shared.config.sections import Problem, Settings


class ReplicationSettings(Settings, frozen=True, kw_only=True):
    """Limits of what a node may have been sent, and how long it may be silent."""

    #: Most updates in one message to a node.
    batch_updates_max: Annotated[int, Meta(ge=1, le=100_000)] = 2_000
    #: Most bytes in one message to a node (one update is always allowed).
    batch_bytes_max: Annotated[int, Meta(ge=1, le=8 << 20)] = 1 << 20
    #: Updates that one node may have been sent and not applied yet.
    window_updates: Count = 20_000
    #: Bytes that one node may have been sent and not applied yet.
    window_bytes: Bytes = 8 << 20
    #: A batch of fewer updates than this is a small one, unless it is all that a message may have.
    small_updates: Count = 100
    #: Small batches that a node may have been sent and not applied yet: more updates gather meanwhile.
    small_batches_max: Count = 1
    #: A node hears how far the log goes at least so often, in seconds.
    heartbeat_s: Seconds = 0.5
    #: A node that does not answer the hello for so long is tried again, in seconds.
    connect_timeout_s: Seconds = 3.0
    #: A node that owes an answer for so long is cut off and tried again, in seconds.
    stall_timeout_s: Seconds = 10.0
    #: A stream that stood for so long was a good one: when it breaks, the waits before it is tried again begin anew, in
    #: seconds.
    steady_after_s: SecondsFrom0 = 5.0
    #: First wait before a node is tried again, in seconds; each further one is twice as long.
    backoff_initial_s: Seconds = 0.05
    #: Longest wait before a node is tried again, in seconds.
    backoff_max_s: Seconds = 1.0

    def problems(self) -> Iterator[Problem]:
        """A window holds a batch, and no time ends before what it waits for can come."""
        for small, large in (
            ("batch_updates_max", "window_updates"),
            ("batch_bytes_max", "window_bytes"),
            ("backoff_initial_s", "backoff_max_s"),
        ):
            if getattr(self, small) > getattr(self, large):
                yield Problem(small, f"must be at most {large}, which is {getattr(self, large):g}")
        if self.heartbeat_s >= self.stall_timeout_s:
            yield Problem("heartbeat_s", f"must be less than stall_timeout_s, which is {self.stall_timeout_s:g}")
