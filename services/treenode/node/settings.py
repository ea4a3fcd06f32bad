"""What a node's core can be set to."""

from __future__ import annotations

from msgspec import field

from services.shared.config.bounds import CountFrom0, Seconds, SecondsFrom0
from services.shared.config.sections import Settings


class RoleSettings(Settings, frozen=True, kw_only=True):
    """What a lease is held by."""

    #: How long before the end of its lease a primary demotes itself, in seconds.
    lease_margin_s: SecondsFrom0 = 0.1


class NodeSettings(Settings, frozen=True, kw_only=True):
    """How patient a node is until it is ready, and how careful while it is primary."""

    role: RoleSettings = field(default_factory=RoleSettings)
    #: A node that came up with a tree and hears no pusher for this long serves what it has, in seconds.
    catch_up_grace_s: Seconds = 3.0
    #: Updates that a node may lack and still be called caught up, once it has all that were there when it connected.
    caught_up_lag_updates: CountFrom0 = 1_000
