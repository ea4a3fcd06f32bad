"""What is known of one pusher's process, and of an operator's wish."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from services.coordinator.pushers.events import PusherBeat


@dataclass(slots=True)
class PusherLease:
    """A pusher's process as it was heard last."""

    beat: PusherBeat
    heard_at_s: float
    #: It was elected and did not become active: others go first until then.
    demoted_until_s: float = -math.inf


@dataclass(slots=True)
class PusherSwitchover:
    """A switchover under way: who asked, and where it stands."""

    request: int
    from_pusher: str
    to_pusher: str
    begun_at_s: float
    #: Of the election; 0 until it is durable.
    epoch: int = field(default=0)
