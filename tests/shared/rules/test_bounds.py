"""How many types and periods there may be, to the one, and what an empty set of either means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fasttree.v1 import types_pb2
from services.shared.domain.limits import PERIODS_EVER_MAX, PERIODS_MAX, SLOTS_MAX, VOLUME_TYPES_MAX
from services.shared.rules import RULE_VERSION, LatePeriod, Refused, Rules, changed, judge, rules_of
from services.shared.rules.rules import version_problem


def rules(types: int, periods: int, *, sealed: int = 0) -> Rules:
    open_periods = tuple(f"p{number}" for number in range(periods))
    names = tuple(f"T{number}" for number in range(types))
    gone = tuple(f"s{number}" for number in range(sealed))
    return Rules(names, open_periods, open_periods[0] if open_periods else "", sealed_periods=gone, version=1)


def open_one(before: Rules, period: str = "new", *, current: bool = False) -> Rules | Refused:
    return changed(before, "period_opened", types_pb2.PeriodOpened(period=period, becomes_current=current))


def add_type(before: Rules) -> Rules | Refused:
    return changed(before, "volume_type_added", types_pb2.VolumeTypeAdded(volume_type="new"))


def test_the_last_period_that_fits_is_opened_and_no_more() -> None:
    full = open_one(rules(1, PERIODS_MAX - 1))
    assert isinstance(full, Rules)
    assert isinstance(open_one(full, "another"), Refused)


def test_a_late_period_of_a_full_set_opens_again() -> None:
    full = rules(1, PERIODS_MAX)
    late = replace(full, open_periods=full.open_periods[:-1], late_periods=(LatePeriod(full.open_periods[-1], "2026"),))
    assert isinstance(open_one(late, full.open_periods[-1]), Rules)


def test_the_last_period_ever_is_opened_and_no_more() -> None:
    assert isinstance(open_one(rules(1, 2, sealed=PERIODS_EVER_MAX - 3)), Rules)
    refused = open_one(rules(1, 2, sealed=PERIODS_EVER_MAX - 2))
    assert refused == Refused(f"{PERIODS_EVER_MAX} periods were opened already, and no more can be")


def test_the_last_slot_is_taken_and_no_more() -> None:
    assert SLOTS_MAX == 32 * 32
    assert isinstance(open_one(rules(32, 31)), Rules)
    assert isinstance(open_one(rules(32, 32)), Refused)
    assert isinstance(add_type(rules(31, 32)), Rules)
    assert isinstance(add_type(rules(32, 32)), Refused)


def test_the_last_type_is_added_and_no_more() -> None:
    assert isinstance(add_type(rules(VOLUME_TYPES_MAX - 1, 1)), Rules)
    assert isinstance(add_type(rules(VOLUME_TYPES_MAX, 1)), Refused)


@pytest.mark.parametrize("current", [False, True])
def test_the_first_period_is_current(current: bool) -> None:
    first = open_one(rules(1, 0), current=current)
    assert isinstance(first, Rules)
    assert (first.periods, first.current_period) == (("new",), "new")


def test_an_open_period_becomes_current() -> None:
    before = rules(1, 2)
    after = open_one(before, "p1", current=True)
    assert isinstance(after, Rules)
    assert (before.current_period, after.current_period, after.open_periods) == ("p0", "p1", ("p0", "p1"))
    other = open_one(before)
    assert isinstance(other, Rules)
    assert other.current_period == "p0"


def test_without_types_or_periods_there_is_nowhere_to_go() -> None:
    assert rules(0, 1).orders == {}
    assert rules(1, 0).orders == {}
    assert rules(1, 1).periods == ("p0",)
    assert rules(1, 0).order_problem("", "") == "no period is current: open one, or name one that is open"


def test_an_id_that_comes_twice_is_judged_once_and_an_update_without_content_never() -> None:
    twice = types_pb2.Update(update_id="a", period_opened=types_pb2.PeriodOpened(period="new"))
    enrolled = types_pb2.Update(update_id="b", member_enrolled=types_pb2.MemberEnrolled(member_id="7"))
    judgement = judge(rules(1, 1), [types_pb2.Update(update_id="empty"), twice, twice, enrolled], known=())
    assert (judgement.refusals, judgement.rules) == ({}, (1,))


def raised(before: Rules, version: int) -> Rules | Refused:
    return changed(before, "rule_version_raised", types_pb2.RuleVersionRaised(version=version))


def test_a_version_is_only_raised() -> None:
    before = replace(rules(1, 1), version=2)
    after = raised(before, 3)
    assert isinstance(after, Rules)
    assert after == replace(before, version=3)
    assert isinstance(raised(before, 2), Refused)
    assert isinstance(raised(before, 1), Refused)
    assert isinstance(raised(replace(before, version=0), 1), Refused), "a log gets its rules first"


def test_a_version_that_the_build_does_not_know_is_named_with_the_mend() -> None:
    assert version_problem(RULE_VERSION) is None
    problem = version_problem(RULE_VERSION + 1)
    assert problem is not None
    assert problem.startswith(f"updates have the meaning of version {RULE_VERSION + 1}, and this build knows")


def test_what_can_be_closed_is_named() -> None:
    def refusal(before: Rules, period: str) -> str:
        refused = changed(before, "period_closed", types_pb2.PeriodClosed(period=period))
        assert isinstance(refused, Refused)
        return refused.reason

    assert refusal(rules(1, 3), "x") == 'period "x" is not open: p1, p2 can be closed'
    assert refusal(rules(1, 1), "x") == 'period "x" is not open: only the current one is open, which can\'t be closed'


def test_a_removal_rule_is_set_once() -> None:
    def set_to(before: Rules, volume: types_pb2.RemovalVolume.ValueType) -> Rules | Refused:
        return changed(before, "removal_rule_set", types_pb2.RemovalRuleSet(volume=volume))

    leaves, rolls = types_pb2.REMOVAL_VOLUME_LEAVES, types_pb2.REMOVAL_VOLUME_ROLL_UP
    assert isinstance(set_to(rules(1, 1), rolls), Refused)
    after = set_to(rules(1, 1), leaves)
    assert isinstance(after, Rules)
    assert after.volume_of_removed == leaves
    # Before the log has rules, the word is kept for when it has them.
    early = set_to(replace(rules(1, 1), version=0), leaves)
    assert isinstance(early, Rules)
    assert replace(early, version=1).volume_of_removed == leaves


def test_what_is_wrong_with_an_order_is_named() -> None:
    both = rules_of(["PV", "CV"], ["2026-11"])
    assert both.current_period == "2026-11"
    assert both.order_problem("CV", "2026-12") == 'period "2026-12" is not open: 2026-11'
    assert both.order_problem("QV", "2026-12") == 'there is no volume type "QV": PV, CV'
    assert rules_of(["PV"], []).current_period == ""
    assert rules_of([], ["2026-11"]).orders == {}
