"""What each caller has under way and how often he came: whether one more call of his is let in.

Rules:
1. A caller has calls under way up to `calls_max`, and of these streams up to `streams_max`.
2. Of calls a second he has `per_s` in the long run, and `burst_s` seconds' worth at once. A bucket of tokens is written
   here as the time when it will be full again: each call that is let in moves that by `1 / per_s`.
3. What is refused counts as nothing: it has no place under way, and takes no token.
4. So many callers are remembered and no more. One that has nothing under way and a full bucket is as one that never
   came, and gives his place to others. Where there is none of these, whoever is new shares what one caller may have
   with all others of his kind that are (`InCommon`), so no number of names gets more than its share. Nobody's bucket is
   forgotten before it is full.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.shared.cores import Tick


class CallersError(AssertionError):
    """The table broke one of its own rules."""


class Kind(StrEnum):
    """How a caller is known; with `LEADER`, what he may have differs."""

    NAMED = "named"
    LEADER = "leader"
    ADDRESS = "address"


class Limit(StrEnum):
    """What a caller has too many of."""

    CALLS = "calls"
    STREAMS = "streams"
    RATE = "rate"


@dataclass(frozen=True)
class Terms:
    """What one caller of a kind may have."""

    calls_max: int
    streams_max: int
    per_s: float
    burst_s: float


@dataclass(frozen=True, slots=True)
class Came:
    """A call has come. `caller`: a name that is his alone among all kinds."""

    caller: str
    kind: Kind = Kind.NAMED
    streams: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that was let in is over. `caller`: as it was let in; empty where that was in common."""

    caller: str
    kind: Kind = Kind.NAMED
    streams: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The call is not let in. `retry_after_s`: when it may be, by the clock alone; None: once others have ended."""

    limit: Limit
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class InCommon:
    """The call is let in, in the name of all of his kind that are not remembered."""


class _Account:
    """Of one caller, or of those in common."""

    __slots__ = ("burst_s", "calls", "calls_max", "full_s", "in_common", "interval_s", "streams", "streams_max")

    def __init__(self, terms: Terms, *, in_common: bool = False) -> None:
        self.in_common = in_common
        self.calls_max = terms.calls_max
        self.streams_max = terms.streams_max
        self.interval_s = 1.0 / terms.per_s
        # One call at least, and no whole one lost to what sums of fractions lack.
        self.burst_s = max(terms.burst_s, self.interval_s) + self.interval_s * 1e-3
        self.calls = 0
        #: Of the calls.
        self.streams = 0
        #: When the bucket is full, if nothing comes.
        self.full_s = 0.0


_IN_COMMON = InCommon()


class CallerLimits:
    """Every caller of one port. What is let in gives no action, or `InCommon`.

    Args:
        terms: By kind.
        remembered_max: Rule 4.
    """

    #: Nothing waits here.
    deadline_s: float | None = None

    def __init__(self, terms: Mapping[Kind, Terms], remembered_max: int) -> None:
        self._terms = terms
        self._remembered_max = remembered_max
        self._accounts: dict[str, _Account] = {}
        self._common = {kind: _Account(of_kind, in_common=True) for kind, of_kind in terms.items()}
        #: Nobody is looked for whose place is free before that.
        self._look_s = 0.0

    @property
    def remembered(self) -> Collection[str]:
        """Callers that have accounts of their own."""
        return self._accounts.keys()

    def handle(self, event: Came | Ended | Tick, now_s: float) -> list[Refused | InCommon]:
        """Takes an event in."""
        if type(event) is Came:
            account = self._accounts.get(event.caller)
            if account is None:
                account = self._new(event, now_s)
            if account.calls >= account.calls_max:
                return [Refused(Limit.CALLS)]
            full_s = account.full_s
            if full_s < now_s:
                full_s = now_s
            full_s += account.interval_s
            if full_s - now_s > account.burst_s:
                return [Refused(Limit.RATE, full_s - now_s - account.burst_s)]
            if event.streams:
                if account.streams >= account.streams_max:
                    return [Refused(Limit.STREAMS)]
                account.streams += 1
            account.calls += 1
            account.full_s = full_s
            return [_IN_COMMON] if account.in_common else []
        if type(event) is Ended:
            account = self._accounts[event.caller] if event.caller else self._common[event.kind]
            account.calls -= 1
            if event.streams:
                account.streams -= 1
        return []

    def _new(self, event: Came, now_s: float) -> _Account:
        """Of a caller who has none."""
        if len(self._accounts) >= self._remembered_max and now_s >= self._look_s:
            self._forget(now_s)
            # Else a flood of names would have all of them looked at for each.
            self._look_s = now_s + 1.0
        if len(self._accounts) >= self._remembered_max:
            return self._common[event.kind]
        account = self._accounts[event.caller] = _Account(self._terms[event.kind])
        return account

    def _forget(self, now_s: float) -> None:
        """All who are as if they had never come."""
        for caller in [name for name, each in self._accounts.items() if not each.calls and each.full_s <= now_s]:
            del self._accounts[caller]

    def under_way(self, caller: str, kind: Kind = Kind.NAMED) -> tuple[int, int]:
        """Calls and streams of one, or, without a name, of those in common."""
        account = self._accounts.get(caller) if caller else self._common[kind]
        return (0, 0) if account is None else (account.calls, account.streams)

    def validate(self) -> None:
        """Raises CallersError where a rule is broken."""
        if len(self._accounts) > self._remembered_max:
            raise CallersError(f"{len(self._accounts)} callers are remembered, and may be {self._remembered_max}")
        for name, account in [*self._accounts.items(), *self._common.items()]:
            if not 0 <= account.streams <= account.calls:
                raise CallersError(
                    f"{name or 'those in common'} has {account.streams} streams of {account.calls} calls"
                )
            if account.calls > account.calls_max or account.streams > account.streams_max:
                raise CallersError(f"{name or 'those in common'} has more under way than may be")
