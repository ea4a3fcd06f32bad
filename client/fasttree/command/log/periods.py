"""`fasttree period` and `fasttree volume-type`: what orders may name. Each change is an update in the log."""

from __future__ import annotations

import re
import sys
from typing import TypedDict

import click

from fasttree.client.forms.update_ids import new_id
from fasttree.client.status.periods import period_rows
from fasttree.command.log.changing import change_rules, rules_in_force
from fasttree.command.log.kept_periods import KeptJson, kept_json, kept_text, nodes_that_answer
from fasttree.command.output import print_json, print_table
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.v1 import types_pb2

_MONTH = re.compile(r"\d{4}-\d{2}")
_FAR_MONTHS = 12


class PeriodJson(TypedDict):
    """A commission period."""

    period: str
    state: str
    late_until: str


class KeptPeriodJson(PeriodJson):
    """The same, with the nodes that keep its state once it is closed."""

    kept: list[KeptJson]


class _Orders(TypedDict):
    periods: list[PeriodJson]
    volume_types: list[str]


class OrdersChangedJson(_Orders):
    """What orders may name by the record at that position."""

    position: int


@click.group("period")
def period() -> None:
    """Commission periods: which ones take orders, which one is current."""


@period.command("list")
@prints(list[KeptPeriodJson])
@common_options
def list_periods(session: Session) -> None:
    """Every period, the current one first; of closed ones, which nodes keep the state for reports (--as-of-period)."""
    rows, nodes = period_rows(rules_in_force(session)), run(nodes_that_answer(session))
    if session.json:
        print_json(
            [
                {"period": name, "state": state, "late_until": until, "kept": kept_json(name, nodes)}
                for name, state, until in rows
            ]
        )
    else:
        cells = [
            (name, state, _takes(state, until), kept_text(name, nodes) if state == "closed" else "")
            for name, state, until in rows
        ]
        print_table(["period", "state", "takes", "kept"], cells)
    for node in nodes:
        if node.kept_periods_problem:
            click.echo(f"{node.address.name}: {node.kept_periods_problem}", err=True)


def _takes(state: str, until: str) -> str:
    return {
        "current": "orders that name it, and those that name none",
        "open": "orders that name it",
        "late": f"orders that name it, until {until}",
        "closed": "nothing",
    }[state]


@period.command("open")
@prints(OrdersChangedJson)
@click.argument("month", metavar="YYYY-MM")
@click.option("--current", is_flag=True, help="Orders that name no period fall into it from now on.")
@click.option("--yes", is_flag=True, help="Does not ask about a month that is more than a year off.")
@common_options
def open_period(session: Session, month: str, current: bool, yes: bool) -> None:
    """Lets a period take orders; or makes an open one the current one.

    Of a month that is more than a year off it asks first, since an opening can't be taken back; without a terminal,
    --yes has to be given.
    """
    if not yes:
        _ask_for_far(session, month)
    change = types_pb2.PeriodOpened(period=month, becomes_current=current)
    _change(session, types_pb2.Update(update_id=new_id(f"period-open-{month}"), period_opened=change))


@period.command("close")
@prints(OrdersChangedJson)
@click.argument("month", metavar="YYYY-MM")
@click.option("--late-until", metavar="YYYY-MM-DD", default="", help="Orders that name it are taken to that day's end.")
@click.option("--yes", is_flag=True, help="Does not ask about a month that is still to come.")
@common_options
def close_period(session: Session, month: str, late_until: str, yes: bool) -> None:
    """Ends a period that is not the current one. Without --late-until it takes nothing more, for good.

    Of a month after the current one, whose orders are still to come, it asks first; without a terminal, --yes has to be
    given.
    """
    if not late_until and not yes:
        _ask_for_good(session, month)
    change = types_pb2.PeriodClosed(period=month, late_until=late_until)
    _change(session, types_pb2.Update(update_id=new_id(f"period-close-{month}"), period_closed=change))


def _ask_for_good(session: Session, month: str) -> None:
    """Raises CommandError where a month that is still to come would be closed for good and nobody wants that."""
    rules = rules_in_force(session)
    if month not in rules.open_periods or not rules.current_period or month <= rules.current_period:
        return
    what = f"{month} comes after the current period {rules.current_period}; closed, it never takes an order"
    _ask(what, "Close it for good?")


def _ask_for_far(session: Session, month: str) -> None:
    """Raises CommandError where a month that is a typing error, by all appearances, would be opened and nobody wants
    that."""
    current = rules_in_force(session).current_period
    if not _MONTH.fullmatch(month) or not current or abs(_months(month) - _months(current)) <= _FAR_MONTHS:
        return
    what = f"{month} is more than a year from the current period {current}, and an opening can't be taken back"
    _ask(what, "Open it?")


def _months(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:])


def _ask(what: str, question: str) -> None:
    if not sys.stdin.isatty():
        raise CommandError(f"{what}: nothing was changed; give --yes where that is wanted")
    if not click.confirm(f"{what}. {question}", err=True):
        raise CommandError("nothing was changed")


@click.group("volume-type")
def volume_type() -> None:
    """Volume types: which kinds of points there are."""


@volume_type.command("list")
@prints(list[str])
@common_options
def list_types(session: Session) -> None:
    """Every volume type, the default first."""
    rules = rules_in_force(session)
    if session.json:
        print_json(list(rules.volume_types))
        return
    for name in rules.volume_types:
        click.echo(name)


@volume_type.command("add")
@prints(OrdersChangedJson)
@click.argument("name")
@common_options
def add_type(session: Session, name: str) -> None:
    """Lets orders of another volume type come. It stays for good."""
    change = types_pb2.VolumeTypeAdded(volume_type=name)
    _change(session, types_pb2.Update(update_id=new_id(f"volume-type-add-{name}"), volume_type_added=change))


def _change(session: Session, update: types_pb2.Update) -> None:
    """Pushes a change of what orders may name. Raises CommandError."""
    change_rules(session, [update], _sentence, _members)


def _sentence(rules: types_pb2.Rules) -> str:
    takes = ", ".join(f"{name} {state}" for name, state, _ in period_rows(rules) if state != "closed")
    return f"periods: {takes}; volume types: {', '.join(rules.volume_types)}"


def _members(rules: types_pb2.Rules) -> _Orders:
    return {
        "periods": [{"period": name, "state": state, "late_until": until} for name, state, until in period_rows(rules)],
        "volume_types": list(rules.volume_types),
    }
