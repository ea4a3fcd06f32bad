"""What was in force when."""

from __future__ import annotations

from fasttree.v1 import types_pb2
from services.shared.rules import NO_RULES, RulesHistory, founding, is_rule, rules_message, rules_of

FOUNDED = rules_of(["PV"], ["2026-11"])


def founded() -> types_pb2.Update:
    return types_pb2.Update(update_id="f", rules_founded=types_pb2.RulesFounded(rules=rules_message(FOUNDED)))


def opened(period: str) -> types_pb2.Update:
    change = types_pb2.PeriodOpened(period=period, becomes_current=True)
    return types_pb2.Update(update_id=period, period_opened=change)


def order() -> types_pb2.Update:
    return types_pb2.Update(update_id="o", volume_posted=types_pb2.VolumePosted(member_id="1", amount_hundredths=1))


def test_without_records_there_are_no_rules() -> None:
    history = RulesHistory([(1, order()), (2, types_pb2.Update(update_id="empty"))])
    assert not history.founded
    assert history.founded_at == 0
    assert history.newest == history.founding == history.at(0) == history.at(9) == NO_RULES
    assert [each.period for each in history.current_periods(9)] == [""]


def test_a_log_may_begin_with_its_rules_or_get_them_later() -> None:
    first, later = RulesHistory([(1, founded())]), RulesHistory([(1, order()), (2, founded())])
    assert (first.founded, first.founded_at) == (True, 1)
    assert (later.founded, later.founded_at) == (True, 0)
    assert first.newest == later.newest == FOUNDED
    assert first.founding == later.at(1) == founding(FOUNDED)
    assert later.at(2) == FOUNDED


def test_a_rejected_record_changes_nothing() -> None:
    history = RulesHistory([(1, founded()), (3, founded()), (4, opened("2026-12"))])
    assert history.at(3) == FOUNDED
    assert history.newest.current_period == "2026-12"


def test_a_period_is_current_from_its_record_on() -> None:
    history = RulesHistory([(1, founded()), (4, opened("2026-12")), (9, opened("2027-01"))])
    told = [(each.position, each.period) for each in history.current_periods(9)]
    assert told == [(0, "2026-11"), (4, "2026-12"), (9, "2027-01")]
    assert len(history.current_periods(8)) == 2


def test_which_updates_are_rules() -> None:
    assert [is_rule(update) for update in (founded(), opened("x"), order(), types_pb2.Update())] == [
        True,
        True,
        False,
        False,
    ]
