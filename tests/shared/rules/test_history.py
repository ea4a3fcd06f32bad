"""What was in force when."""

from __future__ import annotations

from fasttree.v1 import types_pb2
from services.shared.rules import NO_RULES, RulesHistory, founding, is_rule, rules_message, rules_of
from services.shared.rules.history import meant_at

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
    assert RulesHistory([(1, founded()), (2, opened("2026-12"))]).founded_at == 1, "whatever came next"
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
    # A month that is opened ahead of its time leaves the current one what it is.
    history.add(10, types_pb2.Update(period_opened=types_pb2.PeriodOpened(period="2027-02")))
    assert len(history.current_periods(10)) == 3


def test_what_is_as_by_default_is_left_out() -> None:
    """So that a build from before it could be set makes the same bytes, and the same digest of them."""
    assert not rules_message(FOUNDED).HasField("import_thresholds")


def test_which_updates_are_rules() -> None:
    assert [is_rule(update) for update in (founded(), opened("x"), order(), types_pb2.Update())] == [
        True,
        True,
        False,
        False,
    ]


def removal(volume: types_pb2.RemovalVolume.ValueType) -> types_pb2.Update:
    return types_pb2.Update(update_id=f"r-{volume}", removal_rule_set=types_pb2.RemovalRuleSet(volume=volume))


def history_of_removals() -> RulesHistory:
    leaves, rolls = types_pb2.REMOVAL_VOLUME_LEAVES, types_pb2.REMOVAL_VOLUME_ROLL_UP
    return RulesHistory(
        [(3, founded()), (5, removal(leaves)), (6, opened("2026-12")), (8, removal(rolls)), (9, removal(rolls))]
    )


def test_what_a_removal_means_is_known_from_its_record_on() -> None:
    history = history_of_removals()
    leaves, rolls = types_pb2.REMOVAL_VOLUME_LEAVES, types_pb2.REMOVAL_VOLUME_ROLL_UP
    told = [(each.position, each.volume) for each in history.removal_rules(8)]
    # Before the log had rules, a removed member's volume left with it.
    assert told == [(0, leaves), (3, rolls), (5, leaves), (8, rolls)]
    assert len(history.removal_rules(7)) == 3
    assert history.at(9).volume_of_removed == rolls


def test_a_manifest_is_stamped_once_with_what_held_at_its_position() -> None:
    history = history_of_removals()
    manifest = types_pb2.ImportManifest(as_of_position=6)
    history.stamp(manifest)
    assert manifest.rules == rules_message(history.at(6))
    assert [each.period for each in manifest.current_periods] == ["2026-11", "2026-12"]
    assert [each.position for each in manifest.removal_rules] == [0, 3, 5]
    stamped = types_pb2.ImportManifest()
    stamped.CopyFrom(manifest)
    history.stamp(manifest)
    assert manifest == stamped


def test_what_an_update_before_an_import_meant() -> None:
    history = history_of_removals()
    manifest = types_pb2.ImportManifest(as_of_position=8)
    history.stamp(manifest)
    newest = history.at(8)
    meant = [meant_at(manifest, newest, position) for position in (2, 3, 4, 5, 6, 8)]
    leaves, rolls = types_pb2.REMOVAL_VOLUME_LEAVES, types_pb2.REMOVAL_VOLUME_ROLL_UP
    assert [each.volume_of_removed for each in meant] == [leaves, rolls, rolls, leaves, leaves, rolls]
    assert [each.current_period for each in meant] == ["2026-11"] * 4 + ["2026-12"] * 2
    bare = meant_at(types_pb2.ImportManifest(), newest, 2)
    assert (bare.current_period, bare.volume_of_removed) == ("2026-12", rolls)
    assert meant_at(types_pb2.ImportManifest(), history.at(6), 2).volume_of_removed == leaves
