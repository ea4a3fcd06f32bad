"""What a record of a rule does to the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from fasttree.v1 import types_pb2
from services.shared.domain.columns import FurtherKind
from services.shared.domain.limits import (
    COLUMNS_DECLARED_MAX,
    PERIODS_EVER_MAX,
    PERIODS_MAX,
    VOLUME_TYPES_MAX,
)
from services.shared.domain.sentences import quoted
from services.shared.domain.slots import slots_problem
from services.shared.domain.thresholds import with_given
from services.shared.rules.rules import (
    CUSTOMERS_VERSION,
    PERSONAL_VERSION,
    DeclaredColumn,
    LatePeriod,
    Rules,
    rules_from,
    version_needed,
)


@dataclass(frozen=True)
class Refused:
    """Why a record changes nothing, with the mend."""

    reason: str


def changed(rules: Rules, kind: str, change: Any) -> Rules | Refused:
    """The rules after a record whose form is known to be good. `kind`: the field of Update that holds the change."""
    return CHANGES[kind](rules, change)


def _found(rules: Rules, change: types_pb2.RulesFounded) -> Rules | Refused:
    if rules.version:
        return Refused("the log has its rules already")
    return rules_from(change.rules)


def _open(rules: Rules, change: types_pb2.PeriodOpened) -> Rules | Refused:
    period = change.period
    if period in rules.sealed_periods:
        return Refused(f"period {period} is closed for good: its reports stand, and it can't be opened again")
    if period in rules.open_periods and (not change.becomes_current or period == rules.current_period):
        return Refused(f"period {period} is open already" + (", and current" if change.becomes_current else ""))
    periods = rules.open_periods
    if period not in periods:
        periods = (*periods, period)
        if len(rules.periods) >= PERIODS_MAX and period not in rules.periods:
            return Refused(f"{PERIODS_MAX} periods take orders already: close one")
        if len(rules.periods) + len(rules.sealed_periods) >= PERIODS_EVER_MAX:
            return Refused(f"{PERIODS_EVER_MAX} periods were opened already, and no more can be")
        if problem := slots_problem(len(rules.volume_types), len({*rules.periods, period})):
            return Refused(problem)
    return replace(
        rules,
        open_periods=periods,
        late_periods=tuple(each for each in rules.late_periods if each.period != period),
        current_period=period if change.becomes_current or not rules.current_period else rules.current_period,
    )


def _close(rules: Rules, change: types_pb2.PeriodClosed) -> Rules | Refused:
    period = change.period
    if period == rules.current_period:
        return Refused(f"period {period} is the current one: make another one current first")
    if period not in rules.periods:
        known = "closed for good already" if period in rules.sealed_periods else "not open"
        able = [each for each in rules.periods if each != rules.current_period]
        what = f"{', '.join(able)} can be closed" if able else "only the current one is open, which can't be closed"
        return Refused(f"period {quoted(period)} is {known}: {what}")
    closing = replace(
        rules,
        open_periods=tuple(each for each in rules.open_periods if each != period),
        late_periods=tuple(each for each in rules.late_periods if each.period != period),
    )
    if change.late_until:
        return replace(closing, late_periods=(*closing.late_periods, LatePeriod(period, change.late_until)))
    return replace(closing, sealed_periods=(*closing.sealed_periods, period))


def _seal(rules: Rules, change: types_pb2.PeriodSealed) -> Rules | Refused:
    late = tuple(each for each in rules.late_periods if each.period != change.period)
    if len(late) == len(rules.late_periods):
        return Refused(f"period {quoted(change.period)} is not closed with days for what comes late")
    return replace(rules, late_periods=late, sealed_periods=(*rules.sealed_periods, change.period))


def _add_type(rules: Rules, change: types_pb2.VolumeTypeAdded) -> Rules | Refused:
    added = change.volume_type
    # The header of an import file names types in any case.
    same = next((each for each in rules.volume_types if each.lower() == added.lower()), None)
    if same is not None:
        return Refused(f"there is a volume type {same} already")
    if any(each.name.lower() == added.lower() for each in rules.columns):
        return Refused(f"{added} is the name of a declared column: choose another")
    if len(rules.volume_types) >= VOLUME_TYPES_MAX:
        return Refused(f"there are {VOLUME_TYPES_MAX} volume types already, and no more can be")
    if problem := slots_problem(len(rules.volume_types) + 1, len(rules.periods)):
        return Refused(problem)
    return replace(rules, volume_types=(*rules.volume_types, added))


def _declare(rules: Rules, change: types_pb2.ColumnDeclared) -> Rules | Refused:
    name, kind = change.name, cast("FurtherKind", change.type)
    if change.personal and (problem := version_needed("a personal column", PERSONAL_VERSION, rules)):
        return Refused(problem)
    declared = DeclaredColumn(name, kind, change.personal)
    same = next((each for each in rules.columns if each.name.lower() == name.lower()), None)
    if same is not None and declared == same._replace(personal=True) != same:
        return replace(rules, columns=tuple(declared if each is same else each for each in rules.columns))
    if same is not None:
        known = f"personal {same.kind}" if same.personal else same.kind
        return Refused(f"column {same.name} is declared already, as {known}: that stays")
    if any(each.lower() == name.lower() for each in rules.volume_types):
        return Refused(f"{name} is the name of a volume type: choose another")
    if len(rules.columns) >= COLUMNS_DECLARED_MAX:
        return Refused(f"{COLUMNS_DECLARED_MAX} columns are declared already, and no more can be")
    return replace(rules, columns=(*rules.columns, declared))


def _set_thresholds(rules: Rules, change: types_pb2.ImportThresholdsSet) -> Rules | Refused:
    thresholds = with_given(rules.import_thresholds, change)
    if thresholds == rules.import_thresholds:
        return Refused("the thresholds of imports are these already")
    return replace(rules, import_thresholds=thresholds)


def _set_removal(rules: Rules, change: types_pb2.RemovalRuleSet) -> Rules | Refused:
    if rules.version and change.volume == rules.volume_of_removed:
        return Refused(f"removals that leave it open mean {types_pb2.RemovalVolume.Name(change.volume)} already")
    return replace(rules, removal_volume=change.volume)


def _set_customers(rules: Rules, change: types_pb2.CustomerRuleSet) -> Rules | Refused:
    if problem := version_needed("a rule about customers", CUSTOMERS_VERSION, rules):
        return Refused(problem)
    after = replace(rules, customer_statuses=tuple(change.statuses), customers_are_rank_zero=change.rank_zero)
    return Refused("the rule about customers is this already") if after == rules else after


def _raise(rules: Rules, change: types_pb2.RuleVersionRaised) -> Rules | Refused:
    if not rules.version or change.version <= rules.version:
        return Refused(f"updates have the meaning of version {rules.version}: {change.version} is no later one")
    return replace(rules, version=change.version)


#: What each record of a rule does, by the field of Update that holds it.
CHANGES: Final[Mapping[str, Callable[[Rules, Any], Rules | Refused]]] = {
    "rules_founded": _found,
    "period_opened": _open,
    "period_closed": _close,
    "period_sealed": _seal,
    "volume_type_added": _add_type,
    "column_declared": _declare,
    "import_thresholds_set": _set_thresholds,
    "removal_rule_set": _set_removal,
    "customer_rule_set": _set_customers,
    "rule_version_raised": _raise,
}
