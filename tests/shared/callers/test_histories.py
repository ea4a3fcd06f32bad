"""The limits of callers in histories by chance, beside a plain oracle; and that bugs planted in them are found."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.shared.cores import Tick
from services.shared.serving.callers import limits
from services.shared.serving.callers.limits import (
    CallerLimits,
    CallersError,
    Came,
    Ended,
    InCommon,
    Kind,
    Limit,
    Refused,
    Terms,
)
from tests.simulator.planted.planting import Planted, in_place, plant

#: Fractions of a second that add up without loss, so that core and oracle round nothing differently.
_TERMS = {
    Kind.NAMED: Terms(calls_max=3, streams_max=2, per_s=4.0, burst_s=2.0),
    Kind.LEADER: Terms(calls_max=2, streams_max=1, per_s=2.0, burst_s=1.0),
    Kind.ADDRESS: Terms(calls_max=4, streams_max=4, per_s=8.0, burst_s=1.0),
}
_REMEMBERED_MAX = 4
_STEPS, _SEEDS = 400, 60
_STEP_S = 1 / 16


class BrokenLimitError(AssertionError):
    """A caller has what he may not have, or is refused what he may."""


@dataclass
class Account:
    """Of one caller, by the oracle: every call that was let in, for good."""

    terms: Terms
    came_s: list[float] = field(default_factory=list)
    calls: int = 0
    streams: int = 0

    def level(self, now_s: float) -> float:
        """Tokens in the bucket, as a bucket is described everywhere."""
        size = self.terms.per_s * self.terms.burst_s
        level, last_s = size, None
        for came_s in self.came_s:
            level = size if last_s is None else min(size, level + (came_s - last_s) * self.terms.per_s)
            level, last_s = level - 1, came_s
        return level if last_s is None else min(size, level + (now_s - last_s) * self.terms.per_s)

    def is_as_new(self, now_s: float) -> bool:
        return not self.calls and self.level(now_s) >= self.terms.per_s * self.terms.burst_s

    def verdict(self, now_s: float, *, streams: bool) -> Limit | None:
        if self.calls >= self.terms.calls_max:
            return Limit.CALLS
        if self.level(now_s) < 1:
            return Limit.RATE
        return Limit.STREAMS if streams and self.streams >= self.terms.streams_max else None


def history(seed: int) -> None:
    """One history, by the core and by the oracle. Raises BrokenLimitError, CallersError."""
    dice, now_s = random.Random(seed), 100.0
    core = CallerLimits(_TERMS, _REMEMBERED_MAX)
    accounts: dict[str, Account] = {}
    common = {kind: Account(terms) for kind, terms in _TERMS.items()}
    under_way: list[Ended] = []
    for _ in range(_STEPS):
        now_s += dice.choice((0, 0, 0, 1, 2, 40)) * _STEP_S
        if under_way and dice.random() < 0.4:
            ended = under_way.pop(dice.randrange(len(under_way)))
            core.handle(ended, now_s)
            account = accounts[ended.caller] if ended.caller else common[ended.kind]
            account.calls -= 1
            account.streams -= ended.streams
        elif dice.random() < 0.05:
            core.handle(Tick(), now_s)
        else:
            kind = dice.choice(list(Kind))
            came = Came(f"{kind}-{dice.randrange(3)}", kind, dice.random() < 0.4)
            found = core.handle(came, now_s)
            _judge(core, came, found, accounts, common, now_s)
            if not found:
                under_way.append(Ended(came.caller, kind, came.streams))
            elif isinstance(found[0], InCommon):
                under_way.append(Ended("", kind, came.streams))
        core.validate()
        _same(core, accounts, common)


def _judge(
    core: CallerLimits,
    came: Came,
    found: list[Any],
    accounts: dict[str, Account],
    common: dict[Kind, Account],
    now_s: float,
) -> None:
    """What the core said of one that came."""
    gone = accounts.keys() - set(core.remembered)
    for name in gone:
        if not accounts.pop(name).is_as_new(now_s):
            raise BrokenLimitError(f"{name} was forgotten though something of his counts yet")
    own = came.caller in core.remembered
    if not own and len(core.remembered) < _REMEMBERED_MAX:
        raise BrokenLimitError(f"{came.caller} is not remembered though there is a place")
    account = accounts.setdefault(came.caller, Account(_TERMS[came.kind])) if own else common[came.kind]
    expected = account.verdict(now_s, streams=came.streams)
    said = found[0] if found else None
    if (said.limit if isinstance(said, Refused) else None) is not expected:
        raise BrokenLimitError(f"{came} at {now_s}: {said}, and is due {expected or 'to be let in'}")
    if isinstance(said, Refused):
        again_s = said.retry_after_s
        if (again_s is not None) != (expected is Limit.RATE):
            raise BrokenLimitError(f"{said} names a time, or none, without a reason")
        if again_s is not None and account.level(now_s + again_s) < 0.99:
            raise BrokenLimitError(f"{came.caller} is told to come in {again_s} s, and would be refused again")
        return
    if isinstance(said, InCommon) == own:
        raise BrokenLimitError(f"{came.caller} is counted in another account than his own")
    account.came_s.append(now_s)
    account.calls += 1
    account.streams += came.streams


def _same(core: CallerLimits, accounts: dict[str, Account], common: dict[Kind, Account]) -> None:
    for name in core.remembered:
        if core.under_way(name) != (accounts[name].calls, accounts[name].streams):
            raise BrokenLimitError(f"{name} has {core.under_way(name)} under way by the core's count")
    for kind, account in common.items():
        if core.under_way("", kind) != (account.calls, account.streams):
            raise BrokenLimitError(f"those in common have {core.under_way('', kind)} under way by the core's count")


@pytest.mark.parametrize("seed", range(_SEEDS))
def test_each_has_what_he_may_have_and_no_more(seed: int) -> None:
    history(seed)


# ---- planted bugs ----------------------------------------------------------------------------------------------------

_HANDLE, _FORGET = CallerLimits.handle, CallerLimits._forget


def _refused_calls_count(self: CallerLimits, event: Any, now_s: float) -> list[Any]:
    found = _HANDLE(self, event, now_s)
    if found and isinstance(found[0], Refused) and found[0].limit is Limit.STREAMS:
        self._accounts[event.caller].full_s = max(now_s, self._accounts[event.caller].full_s) + 0.25
    return found


def _streams_never_end(self: CallerLimits, event: Any, now_s: float) -> list[Any]:
    if type(event) is Ended and event.streams:
        event = Ended(event.caller, event.kind)
    return _HANDLE(self, event, now_s)


def _buckets_overflow(self: CallerLimits, event: Any, now_s: float) -> list[Any]:
    """Who was away for long has more at once than who never was."""
    account = self._accounts.get(event.caller) if isinstance(event, Came) else None
    before_s = account.full_s if account is not None else 0.0
    if account is None or not 0.0 < before_s < now_s - 4:
        return _HANDLE(self, event, now_s)
    found = _HANDLE(self, event, now_s)
    account.full_s -= 1.0
    return found


def _forgets_who_spent(self: CallerLimits, now_s: float) -> None:
    for caller in [name for name, each in self._accounts.items() if not each.calls]:
        del self._accounts[caller]


def _forgets_who_calls(self: CallerLimits, now_s: float) -> None:
    for caller in [name for name, each in self._accounts.items() if each.full_s <= now_s]:
        del self._accounts[caller]


def _never_forgets(self: CallerLimits, now_s: float) -> None:
    """Places are never given on: whoever is new shares for good."""


def _remembers_all(self: CallerLimits, event: Came, now_s: float) -> Any:
    account = self._accounts[event.caller] = limits._Account(self._terms[event.kind])
    return account


def _one_common_for_all(self: CallerLimits, event: Came, now_s: float) -> Any:
    found = _NEW(self, event, now_s)
    return self._common[Kind.ADDRESS] if found.in_common else found


_NEW = CallerLimits._new


def _leaders_as_others(self: CallerLimits, event: Any, now_s: float) -> list[Any]:
    if isinstance(event, Came) and event.kind is Kind.LEADER and event.caller not in self._accounts:
        event = Came(event.caller, Kind.NAMED, event.streams)
    return _HANDLE(self, event, now_s)


BUGS = [
    plant("a refused stream spends", "3", CallerLimits, "handle", _refused_calls_count),
    plant("streams never end", "1", CallerLimits, "handle", _streams_never_end),
    plant("buckets overflow", "2", CallerLimits, "handle", _buckets_overflow),
    plant("who spent is forgotten", "4", CallerLimits, "_forget", _forgets_who_spent),
    plant("who calls is forgotten", "4", CallerLimits, "_forget", _forgets_who_calls),
    plant("any number is remembered", "4", CallerLimits, "_new", _remembers_all),
    plant("one account for all kinds", "4", CallerLimits, "_new", _one_common_for_all),
    plant("leaders have what others have", "2", CallerLimits, "handle", _leaders_as_others),
]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_planted_bug_is_found(bug: Planted) -> None:
    with in_place(bug):
        for seed in range(_SEEDS):
            try:
                history(seed)
            except (BrokenLimitError, CallersError, KeyError):
                return
    pytest.fail(f"{_SEEDS} histories did not show that {bug.name}")


def test_a_place_that_is_free_is_given_on() -> None:
    """What no refusal shows: whoever is new has a place of his own again."""
    for forgetting, expected in ((_FORGET, True), (_never_forgets, False)):
        with in_place(plant("nobody is forgotten", "4", CallerLimits, "_forget", forgetting)):
            core = CallerLimits(_TERMS, 1)
            core.handle(Came("anna"), 1.0)
            core.handle(Ended("anna"), 1.0)
            assert (core.handle(Came("bert"), 9.0) == []) is expected
