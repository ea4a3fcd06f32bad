"""The times that elections among pushers go by."""

from __future__ import annotations

from services.shared.config.bounds import KeptSeconds, Seconds
from services.shared.config.sections import Settings


class PusherElectionSettings(Settings, frozen=True, kw_only=True):
    """Times of the elections among pushers, in seconds."""

    #: Of several pushers, the active one is replaced when it was silent for so long, in seconds. It sends four
    #: heartbeats in a second.
    pusher_lease_s: Seconds = 1.0
    #: How long a switchover to another pusher may take, in seconds.
    pusher_switchover_timeout_s: Seconds = 10.0
    #: How long a pusher that is gone stays listed, in seconds.
    pusher_forget_s: KeptSeconds = 600.0
