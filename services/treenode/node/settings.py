"""What a node's core can be set to."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import field

from services.shared.config.bounds import Bytes, CountFrom0, Seconds, SecondsFrom0
from services.shared.config.sections import Problem, Settings


class RoleSettings(Settings, frozen=True, kw_only=True):
    """What a lease is held by."""

    #: How long before the end of its lease a primary demotes itself, in seconds.
    lease_margin_s: SecondsFrom0 = 0.1


class SearchSettings(Settings, frozen=True, kw_only=True):
    """How a node looks for a snapshot to start from, where the log can't bring it on."""

    #: First wait after all peers were asked for a snapshot in vain, in seconds; each further one is twice as long.
    search_backoff_initial_s: Seconds = 0.2
    #: Longest wait before peers are asked for a snapshot again, in seconds.
    search_backoff_max_s: Seconds = 10.0
    #: Largest snapshot taken from a peer, in bytes.
    snapshot_bytes_max: Bytes = 64 * 1024**3

    def problems(self) -> Iterator[Problem]:
        """Waits grow."""
        if self.search_backoff_initial_s > self.search_backoff_max_s:
            mend = f"must be at most search_backoff_max_s, which is {self.search_backoff_max_s:g}"
            yield Problem("search_backoff_initial_s", mend)


class CutoverSettings(Settings, frozen=True, kw_only=True):
    """How a new tree takes the place of the one that serves."""

    #: Updates are paused for the swap to a new tree once it lacks no more than so many.
    pause_lag_updates: CountFrom0 = 5_000
    #: Longest time that these may take to read while updates are paused, in seconds; then the new tree is given up.
    pause_s_max: Seconds = 10.0
    #: Longest wait of an import for the node to get to its file's position, in seconds.
    import_position_wait_s_max: Seconds = 60.0
    search: SearchSettings = field(default_factory=SearchSettings)


class NodeSettings(Settings, frozen=True, kw_only=True):
    """How patient a node is until it is ready, and how careful while it is primary."""

    role: RoleSettings = field(default_factory=RoleSettings)
    #: A node that came up with a tree and hears no pusher for this long serves what it has, unless a ready node has
    #: more, in seconds. Longer than the coordinator's `lease_s`, so that it has heard of the others by then.
    catch_up_grace_s: Seconds = 3.0
    #: A node that has all updates that were there when it connected, and lacks no more than so many now, becomes ready
    #: once it has these too; what comes meanwhile is not waited for.
    caught_up_lag_updates: CountFrom0 = 1_000
    cutover: CutoverSettings = field(default_factory=CutoverSettings)
