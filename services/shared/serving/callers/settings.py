"""What one caller of a port may have."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from services.shared.config.sections import Settings

_Calls = Annotated[int, Meta(ge=1, le=1_000_000)]
_PerSecond = Annotated[float, Meta(ge=0.01, le=10_000_000)]


class CallerSettings(Settings, frozen=True, kw_only=True):
    """Of each caller of one port: by the name in a certificate or a token, by address where nobody shows who he is; for
    more, he is refused (RESOURCE_EXHAUSTED). Nodes, pushers, coordinators and VIPs with certificates have no limits."""

    #: Calls of one caller under way, streams among them; one more is refused (RESOURCE_EXHAUSTED), and so is what is
    #: beyond each limit below. A caller is known by the name in a certificate or a token, by address where nobody shows
    #: who he is; nodes, pushers, coordinators and VIPs with certificates have no such limits. Less than `calls_max`, so
    #: that no single caller has all of it.
    caller_calls_max: _Calls = 5_000
    #: A caller's streams under way.
    caller_streams_max: _Calls = 1_000
    #: A caller's calls a second, in the long run.
    caller_calls_per_s: _PerSecond = 100_000.0
    #: A leader's calls under way: he is a person, and each of his calls walks his downline.
    leader_calls_max: _Calls = 100
    #: A leader's calls a second, in the long run.
    leader_calls_per_s: _PerSecond = 100.0
    #: So many seconds' worth of calls may come at once.
    caller_burst_s: Annotated[float, Meta(ge=0.1, le=3_600)] = 10.0
    #: Callers that are remembered; those beyond share what one may have, until others have nothing under way.
    callers_remembered_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
