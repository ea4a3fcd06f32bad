"""`fasttree rules`: everything that decides what updates do, and what an import and a removal may do unless told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import click

from fasttree.client.counts import counted
from fasttree.client.forms.update_ids import new_id
from fasttree.command.log.changing import change_rules, rules_in_force
from fasttree.command.output import print_json, print_table
from fasttree.command.ranges import COUNT_OR_NONE, NumberRange
from fasttree.command.session import Session, common_options
from fasttree.command.shapes import prints
from fasttree.v1 import types_pb2

_VOLUMES: Mapping[str, types_pb2.RemovalVolume.ValueType] = {
    "roll-up": types_pb2.REMOVAL_VOLUME_ROLL_UP,
    "leaves": types_pb2.REMOVAL_VOLUME_LEAVES,
}
#: What holds where the rules do not say.
_FIRST = types_pb2.ImportThresholdsSet(
    members_min=1_000, removed_percent_max=5, moved_percent_max=5, volumes_changed_percent_max=100
)
_PERCENT = NumberRange(0, 100)
_YES_OR_NO = click.Choice(["yes", "no"])


class LatePeriodJson(TypedDict):
    """A period that still takes what comes late."""

    period: str
    late_until: str


class _Settable(TypedDict):
    removal_volume: str
    import_members_min: int
    import_removed_percent_max: float
    import_moved_percent_max: float
    import_volumes_changed_percent_max: float
    customer_statuses: list[str]
    customers_rank_zero: bool


class RulesJson(_Settable):
    """The rules at the log's end."""

    rule_version: int
    current_period: str
    open_periods: list[str]
    late_periods: list[LatePeriodJson]
    closed_periods: list[str]
    volume_types: list[str]
    columns: list[RuleColumnJson]


class RuleColumnJson(TypedDict):
    """A declared column."""

    column: str
    type: str


class RulesChangedJson(_Settable):
    """What may be set, by the record at that position."""

    position: int


@click.group("rules")
def rules() -> None:
    """The rules of the log: what decides the effect of updates, and the acceptance of imports."""


@rules.command("show")
@prints(RulesJson)
@common_options
def show(session: Session) -> None:
    """Every rule in force, with what changes it."""
    found = rules_in_force(session)
    if session.json:
        print_json(_members(found))
        return
    late = [f"{each.period} until {each.late_until}" for each in found.late_periods]
    rows = [
        ("current period", found.current_period, "period open --current"),
        ("open periods", ", ".join(found.open_periods), "period open, close"),
        ("late periods", ", ".join(late), "period open, close"),
        ("closed periods", f"{counted(len(found.sealed_periods), 'period')}; `period list` names them", "period close"),
        ("volume types", ", ".join(found.volume_types), "volume-type add"),
        ("columns", ", ".join(f"{each.name} {each.type}" for each in found.columns), "column declare"),
        *[(name.replace("-", " "), value, f"rules set --{name}") for name, value in _settable(found).items()],
        ("rule version", str(found.version), ""),
    ]
    print_table(["rule", "is", "changed by"], rows)


@rules.command("set")
@prints(RulesChangedJson)
@click.option("--removal-volume", type=click.Choice(list(_VOLUMES)), help="Of removals that leave it open.")
@click.option("--import-members-min", type=COUNT_OR_NONE, help="Smaller trees are replaced whatever changes.")
@click.option("--import-removed-percent-max", type=_PERCENT, help="Most members that an import may remove.")
@click.option("--import-moved-percent-max", type=_PERCENT, help="Most members that an import may move.")
@click.option("--import-volumes-changed-percent-max", type=_PERCENT, help="Most members with other volumes.")
@click.option("--customer-statuses", metavar="A,B", help="Status codes of customers, whatever is recorded; '': none.")
@click.option("--customers-rank-zero", type=_YES_OR_NO, help="Whether customers have rank 0, whatever is recorded.")
@common_options
def set_rules(
    session: Session,
    removal_volume: str | None,
    customer_statuses: str | None,
    customers_rank_zero: str | None,
    **thresholds: float | None,
) -> None:
    """Changes what removals and imports may do, and who is a customer, for all nodes, from the record on."""
    given = {name.removeprefix("import_"): value for name, value in thresholds.items() if value is not None}
    updates = []
    if given:
        change = types_pb2.ImportThresholdsSet(**given)  # type: ignore[arg-type]  # whole numbers where they have to be
        updates.append(types_pb2.Update(update_id=new_id("import-thresholds"), import_thresholds_set=change))
    if removal_volume is not None:
        removal = types_pb2.RemovalRuleSet(volume=_VOLUMES[removal_volume])
        updates.append(types_pb2.Update(update_id=new_id("removal-rule"), removal_rule_set=removal))
    if customer_statuses is not None or customers_rank_zero is not None:
        customers = _customers(rules_in_force(session), customer_statuses, customers_rank_zero)
        updates.append(types_pb2.Update(update_id=new_id("customer-rule"), customer_rule_set=customers))
    if not updates:
        raise click.UsageError("nothing to set: give one option at least.")
    change_rules(session, updates, _sentence, lambda found: _settable_members(found))


def _customers(found: types_pb2.Rules, statuses: str | None, rank_zero: str | None) -> types_pb2.CustomerRuleSet:
    """The whole rule: what is not given stays as it is."""
    return types_pb2.CustomerRuleSet(
        statuses=found.customer_statuses if statuses is None else [each for each in statuses.split(",") if each],
        rank_zero=found.customers_are_rank_zero if rank_zero is None else rank_zero == "yes",
    )


def _sentence(found: types_pb2.Rules) -> str:
    return "; ".join(f"{name} {value or 'none'}" for name, value in _settable(found).items())


def _thresholds(found: types_pb2.Rules) -> types_pb2.ImportThresholdsSet:
    thresholds = types_pb2.ImportThresholdsSet()
    thresholds.CopyFrom(_FIRST)
    thresholds.MergeFrom(found.import_thresholds)
    return thresholds


def _settable(found: types_pb2.Rules) -> dict[str, str]:
    """By the name of the option."""
    return {name.replace("_", "-"): _words(value) for name, value in _settable_members(found).items()}


def _words(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list():
            return ",".join(value)
    return str(value)


def _settable_members(found: types_pb2.Rules) -> _Settable:
    thresholds = _thresholds(found)
    volume = found.removal_volume or types_pb2.REMOVAL_VOLUME_ROLL_UP
    return {
        "removal_volume": next(name for name, value in _VOLUMES.items() if value == volume),
        "import_members_min": thresholds.members_min,
        "import_removed_percent_max": thresholds.removed_percent_max,
        "import_moved_percent_max": thresholds.moved_percent_max,
        "import_volumes_changed_percent_max": thresholds.volumes_changed_percent_max,
        "customer_statuses": list(found.customer_statuses),
        "customers_rank_zero": found.customers_are_rank_zero,
    }


def _members(found: types_pb2.Rules) -> RulesJson:
    return {
        "rule_version": found.version,
        "current_period": found.current_period,
        "open_periods": list(found.open_periods),
        "late_periods": [{"period": each.period, "late_until": each.late_until} for each in found.late_periods],
        "closed_periods": list(found.sealed_periods),
        "volume_types": list(found.volume_types),
        "columns": [{"column": each.name, "type": each.type} for each in found.columns],
        **_settable_members(found),
    }
