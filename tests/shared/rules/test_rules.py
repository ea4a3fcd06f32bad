"""What is in force, and what a record changes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttree.v1 import types_pb2
from services.shared.domain.limits import COLUMNS_DECLARED_MAX, PERIODS_MAX
from services.shared.domain.thresholds import ImportThresholds
from services.shared.domain.updates import change_problem, update_problem
from services.shared.rules import (
    NO_RULES,
    LatePeriod,
    Refused,
    Rules,
    RulesHistory,
    changed,
    founding,
    judge,
    rules_from,
    rules_message,
    rules_of,
)

RULES = rules_of(["PV", "CV"], ["2026-11", "2026-10"])


def opened(period: str, *, current: bool = False) -> types_pb2.Update:
    change = types_pb2.PeriodOpened(period=period, becomes_current=current)
    return types_pb2.Update(update_id=f"open-{period}", period_opened=change)


def closed(period: str, late_until: str = "") -> types_pb2.Update:
    change = types_pb2.PeriodClosed(period=period, late_until=late_until)
    return types_pb2.Update(update_id=f"close-{period}", period_closed=change)


def sealed(period: str) -> types_pb2.Update:
    return types_pb2.Update(update_id=f"seal-{period}", period_sealed=types_pb2.PeriodSealed(period=period))


def type_added(name: str) -> types_pb2.Update:
    return types_pb2.Update(update_id=f"add-{name}", volume_type_added=types_pb2.VolumeTypeAdded(volume_type=name))


def declared(name: str, kind: str = "text", *, personal: bool = False) -> types_pb2.Update:
    change = types_pb2.ColumnDeclared(name=name, type=kind, personal=personal)
    return types_pb2.Update(update_id=f"declare-{name}", column_declared=change)


def thresholds_set(**thresholds: float) -> types_pb2.Update:
    change = types_pb2.ImportThresholdsSet(**thresholds)  # type: ignore[arg-type]
    return types_pb2.Update(update_id="thresholds", import_thresholds_set=change)


def removal_set(volume: types_pb2.RemovalVolume.ValueType) -> types_pb2.Update:
    return types_pb2.Update(update_id=f"removal-{volume}", removal_rule_set=types_pb2.RemovalRuleSet(volume=volume))


def customers_set(*statuses: str, rank_zero: bool = False) -> types_pb2.Update:
    change = types_pb2.CustomerRuleSet(statuses=statuses, rank_zero=rank_zero)
    return types_pb2.Update(update_id=f"customers-{'-'.join(statuses)}-{rank_zero}", customer_rule_set=change)


def founded(rules: Rules) -> types_pb2.Update:
    return types_pb2.Update(update_id="founded", rules_founded=types_pb2.RulesFounded(rules=rules_message(rules)))


def posted(update_id: str, period: str = "", volume_type: str = "") -> types_pb2.Update:
    change = types_pb2.VolumePosted(member_id="7", amount_hundredths=1, period=period, volume_type=volume_type)
    return types_pb2.Update(update_id=update_id, volume_posted=change)


def after(rules: Rules, *updates: types_pb2.Update) -> Rules:
    """The rules after records that none of them refuses."""
    for update in updates:
        kind = update.WhichOneof("change")
        assert kind is not None
        became = changed(rules, kind, getattr(update, kind))
        assert isinstance(became, Rules), became
        rules = became
    return rules


def refusal(rules: Rules, update: types_pb2.Update) -> str:
    kind = update.WhichOneof("change")
    assert kind is not None
    refused = changed(rules, kind, getattr(update, kind))
    assert isinstance(refused, Refused), refused
    return refused.reason


def test_an_order_means_what_it_names_or_what_is_current() -> None:
    assert RULES.orders["", ""] == ("PV", "2026-11")
    assert RULES.orders["CV", ""] == ("CV", "2026-11")
    assert RULES.orders["", "2026-10"] == ("PV", "2026-10")
    assert RULES.order_problem("CV", "2026-10") is None
    assert RULES.order_problem("QV", "") == 'there is no volume type "QV": PV, CV'
    assert RULES.order_problem("", "2026-12") == 'period "2026-12" is not open: 2026-11, 2026-10'


def test_a_month_end() -> None:
    december = after(RULES, opened("2026-12", current=True))
    assert december.orders["", ""] == ("PV", "2026-12")
    assert december.order_problem("", "2026-11") is None
    late = after(december, closed("2026-11", "2026-12-05"))
    assert late.late_periods == (LatePeriod("2026-11", "2026-12-05"),)
    assert late.order_problem("", "2026-11") is None
    over = after(late, sealed("2026-11"))
    assert over.order_problem("", "2026-11") == 'period "2026-11" is closed for good: 2026-12, 2026-10'
    assert over.periods == ("2026-12", "2026-10")
    assert after(december, closed("2026-11")).sealed_periods == ("2026-11",)


def test_what_can_not_be_changed_is_refused_with_the_mend() -> None:
    assert refusal(RULES, opened("2026-10")) == "period 2026-10 is open already"
    assert refusal(RULES, opened("2026-11", current=True)) == "period 2026-11 is open already, and current"
    assert "make another one current first" in refusal(RULES, closed("2026-11"))
    assert "is not open" in refusal(RULES, closed("2026-01"))
    assert "closed for good" in refusal(after(RULES, closed("2026-10")), opened("2026-10"))
    assert "closed for good already" in refusal(after(RULES, closed("2026-10")), closed("2026-10"))
    assert "is not closed with days" in refusal(RULES, sealed("2026-10"))
    assert refusal(RULES, type_added("pv")) == "there is a volume type PV already"
    points = after(RULES, declared("points", "integer"))
    for again in (declared("points", "integer"), declared("Points", "text")):
        assert refusal(points, again) == "column points is declared already, as integer: that stays"
    assert refusal(RULES, declared("pv")) == "pv is the name of a volume type: choose another"
    assert refusal(points, type_added("POINTS")) == "POINTS is the name of a declared column: choose another"
    assert refusal(RULES, founded(RULES)) == "the log has its rules already"


def test_a_late_period_may_get_another_day_or_open_again() -> None:
    late = after(RULES, closed("2026-10", "2026-11-05"))
    assert after(late, closed("2026-10", "2026-11-09")).late_periods == (LatePeriod("2026-10", "2026-11-09"),)
    again = after(late, opened("2026-10"))
    assert again.late_periods == ()
    assert again.open_periods == ("2026-11", "2026-10")


def test_there_is_room_for_sixty_periods_of_six_types_and_an_end() -> None:
    rules = rules_of(["A", "B", "C", "D", "E", "F"], ["2026-01"])
    months = [f"{2026 + at // 12}-{at % 12 + 1:02d}" for at in range(1, PERIODS_MAX)]
    rules = after(rules, *[opened(month) for month in months[:59]])
    assert len(rules.orders) == 7 * 61
    rules = after(rules, *[opened(month) for month in months[59:]])
    assert "close one" in refusal(rules, opened("2050-01"))
    assert "more than the" in refusal(after(rules, type_added("G"), type_added("H")), type_added("I"))


def test_thresholds_of_imports_change_one_by_one() -> None:
    assert RULES.import_thresholds == ImportThresholds(1_000, 5.0, 5.0, 100.0)
    rules = after(RULES, thresholds_set(removed_percent_max=12.5), thresholds_set(members_min=0))
    assert rules.import_thresholds == ImportThresholds(0, 12.5, 5.0, 100.0)
    assert refusal(rules, thresholds_set(members_min=0)) == "the thresholds of imports are these already"
    assert rules_from(rules_message(rules)) == rules
    # As they were, in the bytes of a build that has not heard of them.
    again = after(rules, thresholds_set(removed_percent_max=5, members_min=1_000))
    assert rules_message(again) == rules_message(RULES)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            thresholds_set(),
            "set one of members_min, removed_percent_max, moved_percent_max, volumes_changed_percent_max",
        ),
        (thresholds_set(moved_percent_max=100.5), "moved_percent_max must be 0 to 100"),
        (thresholds_set(removed_percent_max=float("nan")), "removed_percent_max must be 0 to 100"),
        (thresholds_set(members_min=2**40), "members_min must be 0 to 1,000,000,000"),
        (removal_set(types_pb2.REMOVAL_VOLUME_UNSPECIFIED), "volume must be REMOVAL_VOLUME_ROLL_UP or"),
    ],
)
def test_what_no_rule_can_be_is_refused(change: types_pb2.Update, said: str) -> None:
    assert said in str(update_problem(change))


def test_what_a_removal_leaves_open() -> None:
    roll_up, leaves = types_pb2.REMOVAL_VOLUME_ROLL_UP, types_pb2.REMOVAL_VOLUME_LEAVES
    assert RULES.volume_of_removed == roll_up
    assert founding(RULES).volume_of_removed == leaves
    assert "ROLL_UP already" in refusal(RULES, removal_set(roll_up))
    changed_ = after(RULES, removal_set(leaves))
    assert changed_.volume_of_removed == leaves
    assert after(changed_, removal_set(roll_up)).volume_of_removed == roll_up
    history = RulesHistory([(4, founded(RULES)), (6, removal_set(leaves)), (9, removal_set(roll_up))])
    assert [(each.position, each.volume) for each in history.removal_rules(8)] == [
        (0, leaves),
        (4, roll_up),
        (6, leaves),
    ]


def test_a_column_of_texts_becomes_personal_and_stays_so() -> None:
    rules = after(RULES, declared("name"), declared("phone", personal=True), declared("points", "integer"))
    assert rules.personal == {"phone"}
    rules = after(rules, declared("name", personal=True))
    assert [each.name for each in rules.columns] == ["name", "phone", "points"]
    assert rules.personal == {"name", "phone"}
    assert rules_from(rules_message(rules)) == rules
    for again in (declared("name"), declared("name", personal=True), declared("NAME", personal=True)):
        assert refusal(rules, again) == "column name is declared already, as personal text: that stays"
    assert "already, as integer" in refusal(rules, declared("points", personal=True))
    number = declared("tax", "integer", personal=True).column_declared
    assert change_problem("column_declared", number) == "personal: only a column of type text can be personal"


def test_no_column_is_personal_before_every_node_knows_of_it() -> None:
    before = replace(RULES, version=2)
    assert refusal(before, declared("phone", personal=True)).startswith(
        "a personal column needs version 3 of the rules"
    )
    assert after(before, declared("phone")).personal == frozenset()


def test_only_so_many_columns_are_declared() -> None:
    rules = after(RULES, *[declared(f"c{number}") for number in range(COLUMNS_DECLARED_MAX)])
    assert refusal(rules, declared("one more")) == "200 columns are declared already, and no more can be"
    assert change_problem("rules_founded", founded(rules).rules_founded) is None


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("", "text", 'name: "" is none: it needs a name of 1 to 64 printable characters'),
        (" points", "text", "printable characters"),
        ("Status", "text", "FastTree has this name for itself"),
        ("gv", "text", "FastTree has this name for itself"),
        ("cv:2026-08", "integer", "FastTree has this name for itself"),
        ("points:integer", "integer", "leave that out"),
        ("points", "number", 'type: "number" is no type of a column: write one of text, integer, decimal, date'),
        ("points", "", "is no type of a column"),
    ],
)
def test_a_column_that_no_file_could_have_is_refused(name: str, kind: str, said: str) -> None:
    update = declared(name, kind)
    update.update_id = "declare"
    assert said in str(update_problem(update))


def test_rules_are_the_same_after_a_way_as_a_message() -> None:
    rules = after(RULES, opened("2026-12", current=True), closed("2026-11", "2026-12-05"), closed("2026-10"))
    rules = after(rules, declared("größe", "decimal"), declared("points", "integer"))
    assert rules_from(rules_message(rules)) == rules
    assert change_problem("rules_founded", founded(rules).rules_founded) is None
    assert rules_from(types_pb2.Rules()) == NO_RULES


def test_a_history_says_what_held_when() -> None:
    history = RulesHistory(
        [(1, founded(RULES)), (2, posted("o-1")), (5, opened("2026-12", current=True)), (9, closed("2026-10"))]
    )
    assert history.at(0) == founding(RULES)
    assert history.at(4) == RULES
    assert history.at(5).current_period == "2026-12"
    assert history.newest.sealed_periods == ("2026-10",)
    current = [(each.position, each.period) for each in history.current_periods(8)]
    assert current == [(0, "2026-11"), (5, "2026-12")]
    assert [each.period for each in history.current_periods(4)] == ["2026-11"]


def test_updates_are_judged_in_their_order() -> None:
    judgement = judge(
        RULES,
        [posted("o-1", "2026-12"), opened("2026-12"), posted("o-1", "2026-12"), posted("o-0", "2026-01"), opened("x")],
        known={"o-0", "open-x"},
    )
    assert list(judgement.refusals) == [0]
    assert "the same update_id can be pushed again" in judgement.refusals[0]
    assert judgement.rules == (1,)
    assert judgement.after.order_problem("", "2026-12") is None


PERIODS = st.sampled_from(["2026-09", "2026-10", "2026-11", "2026-12", "2027-01"])
RECORDS = st.one_of(
    st.builds(opened, PERIODS, current=st.booleans()),
    st.builds(closed, PERIODS, st.sampled_from(["", "2026-12-05"])),
    st.builds(sealed, PERIODS),
    st.builds(type_added, st.sampled_from(["PV", "pv", "QV", "CV"])),
    st.builds(thresholds_set, removed_percent_max=st.sampled_from([0.0, 5.0, 100.0])),
    st.builds(removal_set, st.sampled_from([types_pb2.REMOVAL_VOLUME_ROLL_UP, types_pb2.REMOVAL_VOLUME_LEAVES])),
    st.builds(declared, st.sampled_from(["PV", "qv", "points", "Points", "zip"]), st.sampled_from(["text", "date"])),
)


@given(st.lists(RECORDS, max_size=40))
def test_rules_hold_together_whatever_comes(records: list[types_pb2.Update]) -> None:
    rules = RULES
    for record in records:
        kind = record.WhichOneof("change")
        assert kind is not None
        before = rules
        became = changed(rules, kind, getattr(record, kind))
        rules = before if isinstance(became, Refused) else became
        # Whatever became of them, a log could begin with them.
        assert change_problem("rules_founded", founded(rules).rules_founded) is None
        assert set(before.sealed_periods) <= set(rules.sealed_periods)
        assert ("", "") in rules.orders


@pytest.mark.parametrize(
    "rules",
    [
        types_pb2.Rules(),
        types_pb2.Rules(version=1, volume_types=["PV"], open_periods=["2026-11"], current_period="2026-12"),
        types_pb2.Rules(version=1, volume_types=["PV", "pv"], open_periods=["2026-11"], current_period="2026-11"),
        types_pb2.Rules(
            version=1,
            volume_types=["PV"],
            open_periods=["2026-11"],
            current_period="2026-11",
            sealed_periods=["2026-11"],
        ),
        types_pb2.Rules(
            version=1,
            volume_types=[f"T{number}" for number in range(64)],
            open_periods=[f"{year}-01" for year in range(2000, 2030)],
            current_period="2000-01",
        ),
        types_pb2.Rules(
            version=1,
            volume_types=["PV"],
            open_periods=["2026-11"],
            current_period="2026-11",
            columns=[types_pb2.ColumnDeclared(name="pv", type="text")],
        ),
    ],
)
def test_no_log_begins_with_rules_that_do_not_hold_together(rules: types_pb2.Rules) -> None:
    assert change_problem("rules_founded", types_pb2.RulesFounded(rules=rules)) is not None


def test_the_rule_about_customers_is_set_as_a_whole_and_taken_back() -> None:
    rules = after(RULES, customers_set("X", "Y", rank_zero=True))
    assert (rules.customer_statuses, rules.customers_are_rank_zero) == (("X", "Y"), True)
    assert rules_from(rules_message(rules)) == rules
    assert refusal(rules, customers_set("X", "Y", rank_zero=True)) == "the rule about customers is this already"
    assert after(rules, customers_set("Y")).customer_statuses == ("Y",)
    assert after(rules, customers_set()) == RULES
    assert rules_message(after(rules, customers_set())) == rules_message(RULES)


def test_a_rule_about_customers_waits_until_every_node_knows_it() -> None:
    earlier = replace(RULES, version=1)
    assert "needs version 2 of the rules, and 1 is in force" in refusal(earlier, customers_set("X"))
    raised = types_pb2.Update(update_id="raised", rule_version_raised=types_pb2.RuleVersionRaised(version=2))
    assert after(earlier, raised, customers_set("X")).customer_statuses == ("X",)


@pytest.mark.parametrize(
    ("statuses", "why"),
    [
        (["X", "X"], "statuses: one stands there twice"),
        ([""], 'statuses: "": an empty code is none'),
        (["S" * 17], "longer than 16 characters"),
        (["\t"], "not printable ASCII"),
        ([str(number) for number in range(65)], "statuses: there are 65: 64 at most"),
    ],
)
def test_a_list_of_customers_that_is_none_is_refused_with_the_mend(statuses: list[str], why: str) -> None:
    problem = change_problem("customer_rule_set", types_pb2.CustomerRuleSet(statuses=statuses))
    assert problem is not None
    assert why in problem
    rules = rules_message(RULES)
    rules.customer_statuses.extend(statuses)
    assert "rules.customer_statuses: " in str(change_problem("rules_founded", types_pb2.RulesFounded(rules=rules)))
