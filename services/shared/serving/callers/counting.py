"""Callers of one port, as its server asks: a call is let in, and counted until its end, or refused by a status."""

from __future__ import annotations

import ipaddress
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from grpc_status import rpc_status

from services.shared.domain.sentences import plain
from services.shared.security.caller import Caller
from services.shared.security.roles import CALLS, inside_calls, is_inside
from services.shared.serving.callers.limits import CallerLimits, Came, Ended, Kind, Limit, Refused, Terms
from services.shared.serving.callers.settings import CallerSettings
from services.shared.serving.errors import ResourceExhaustedError, to_rpc_status
from services.shared.serving.standard.health import CHECK

_ROLE: Final = re.compile(r"(?:spiffe://[^/]+|token:/)/([^/]+)/[^/]+")
#: What a role is called that is none of the shipped ones, and whoever shows no name.
OTHER, NOBODY = "other", "nobody"
#: What is counted, beside a caller's limits, as what calls were refused for: how long they had waited.
QUEUE = "queue"
#: When a call that was refused for the number of others may do better.
_RETRY_AFTER_S = 1.0
_SHOWN_MAX = 120

#: By which a call that was let in is told to be over; None: nobody counts it.
Counted = Ended | None


class _Known(NamedTuple):
    """One caller: what is told of his calls. Made once for all of them."""

    came: Came
    ended: Ended
    stream_came: Came
    stream_ended: Ended
    #: For figures, of which there must be few.
    role: str
    #: For people.
    name: str


class Callers:
    """Those of one port.

    Args:
        settings: What each may have.
        section: Where that is set, such as "treenode".
        clock: Seconds that never go back.
    """

    def __init__(self, settings: CallerSettings, section: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._section, self._clock = settings, section, clock
        many = Terms(
            settings.caller_calls_max, settings.caller_streams_max, settings.caller_calls_per_s, settings.caller_burst_s
        )
        leaders = Terms(
            settings.leader_calls_max, settings.caller_streams_max, settings.leader_calls_per_s, settings.caller_burst_s
        )
        self._limits = CallerLimits(
            {Kind.NAMED: many, Kind.ADDRESS: many, Kind.LEADER: leaders}, settings.callers_remembered_max
        )
        #: By names, or by address and whether the call is one of the cluster's own; None: not counted.
        self._known: dict[tuple[str, ...] | tuple[str, bool], _Known | None] = {}
        self._inside = frozenset(path.encode() for path in inside_calls())
        #: Paths of calls that have room of their own where as many others are under way as may be.
        self.apart = self._inside | {CHECK.encode()}
        self._check = CHECK.encode()
        #: By role and limit, how many calls were refused.
        self.refused: Counter[tuple[str, str]] = Counter()

    def begin(self, caller: Caller | None, address: str, path: bytes, streams: bool) -> Counted | Any:
        """What `end` is to be given, or the status by which the call is refused.

        Args:
            caller: None, or without names: nobody shows who he is.
            address: Of the peer, as gRPC writes it.
            streams: Whether either side streams.
        """
        if path == self._check:
            return None
        key = caller.principals if caller is not None and caller.principals else (address, path in self._inside)
        try:
            known = self._known[key]
        except KeyError:
            known = self._meet(key, caller, address)
        if known is None:
            return None
        actions = self._limits.handle(known.stream_came if streams else known.came, self._clock())
        if not actions:
            return known.stream_ended if streams else known.ended
        first = actions[0]
        if isinstance(first, Refused):
            return self._refusal(known, first)
        return Ended("", known.came.kind, streams)

    def end(self, counted: Ended) -> None:
        """That call is over."""
        self._limits.handle(counted, self._clock())

    def shed(self, caller: Caller | None, address: str) -> None:
        """A call is refused before it is let in: it has waited too long for its turn."""
        key: Any = caller.principals if caller is not None and caller.principals else (address, False)
        known = self._known[key] if key in self._known else self._meet(key, caller, address)
        self.refused[NOBODY if known is None else known.role, QUEUE] += 1

    @property
    def remembered(self) -> int:
        """Callers that have places of their own."""
        return len(self._limits.remembered)

    def _meet(self, key: Any, caller: Caller | None, address: str) -> _Known | None:
        if len(self._known) >= 2 * self._settings.callers_remembered_max:
            self._known.clear()
        if caller is None or not caller.principals:
            host = host_of(address)
            # Apart from names, and what the cluster's own parts ask apart from what others ask of that address.
            known = _known(f"{'inside' if key[1] else 'address'} {host}", Kind.ADDRESS, NOBODY, host)
        else:
            if is_inside(caller.principals):
                self._known[key] = None
                return None
            found = [named for each in caller.principals if (named := _ROLE.fullmatch(each))]
            shown_as = next((each[1] for each in found if each[1] in CALLS), OTHER)
            name = " ".join(caller.principals)
            known = _known(f"name {name}", Kind.NAMED if caller.leads is None else Kind.LEADER, shown_as, name)
        self._known[key] = known
        return known

    def _refusal(self, known: _Known, refused: Refused) -> Any:
        self.refused[known.role, refused.limit.value] += 1
        leads = known.came.kind is Kind.LEADER
        who, settings, section = plain(known.name)[:_SHOWN_MAX], self._settings, self._section
        calls = "leader_calls" if leads else "caller_calls"
        match refused.limit:
            case Limit.CALLS:
                count = settings.leader_calls_max if leads else settings.caller_calls_max
                said = f"{who} has {count} calls under way; {section}.{calls}_max sets how many may be"
            case Limit.STREAMS:
                count = settings.caller_streams_max
                said = f"{who} has {count} streams under way; {section}.caller_streams_max sets how many may be"
            case Limit.RATE:
                rate = settings.leader_calls_per_s if leads else settings.caller_calls_per_s
                said = f"{who} calls more often than {rate:g} times a second; {section}.{calls}_per_s sets how often"
        after_s = _RETRY_AFTER_S if refused.retry_after_s is None else math.ceil(refused.retry_after_s * 1e3) / 1e3
        error = ResourceExhaustedError(said, reason=_REASONS[refused.limit], retry_after_s=after_s)
        return rpc_status.to_status(to_rpc_status(error))


_REASONS: Final[Mapping[Limit, str]] = {
    Limit.CALLS: "TOO_MANY_CALLS_OF_CALLER",
    Limit.STREAMS: "TOO_MANY_STREAMS_OF_CALLER",
    Limit.RATE: "TOO_OFTEN_BY_CALLER",
}


def _known(caller: str, kind: Kind, role: str, name: str) -> _Known:
    return _Known(
        Came(caller, kind), Ended(caller, kind), Came(caller, kind, True), Ended(caller, kind, True), role, name
    )


def host_of(peer: str) -> str:
    """The host of a peer as gRPC writes it, such as "ipv4:10.0.0.7:4312"; of IPv6 the network of 64 bits, in which one
    machine has as many addresses as it wants."""
    kind, _, rest = unquote(peer).partition(":")
    host = rest.rpartition(":")[0].strip("[]")
    if kind != "ipv6":
        return host or kind
    try:
        return str(ipaddress.ip_network((host.partition("%")[0], 64), strict=False))
    except ValueError:
        return host
