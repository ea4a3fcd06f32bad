"""How a pusher takes turns with others."""

from __future__ import annotations

from services.shared.config.bounds import Flag, OptionalNodeName, Seconds
from services.shared.config.sections import Settings


class PusherTurnSettings(Settings, frozen=True, kw_only=True):
    """Of one pusher of several."""

    #: Whether this is one of several pushers, of which the coordinator says which one is active; they have one log.
    takes_turns: Flag = False
    #: The pusher's name, of several; empty: the machine's host name.
    name: OptionalNodeName = ""
    #: A pusher that stands by reads on in the log this often, in seconds.
    follow_interval_s: Seconds = 0.1
    #: A call that comes while this pusher takes over waits for that for so long before it is sent on, in seconds.
    claim_wait_s: Seconds = 2.0
