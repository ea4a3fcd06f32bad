"""`fasttree column`: the columns that members have whatever file their tree is built from."""

from __future__ import annotations

from typing import TypedDict

import click

from fasttree.client.forms.update_ids import new_id
from fasttree.command.log.changing import change_rules, rules_in_force
from fasttree.command.output import print_json, print_table
from fasttree.command.session import Session, common_options
from fasttree.command.shapes import prints
from fasttree.v1 import types_pb2

#: As the header of an import file writes them.
_TYPES = ("text", "integer", "decimal", "date")


class ColumnJson(TypedDict):
    """A declared column of members."""

    column: str
    type: str
    personal: bool


class _Columns(TypedDict):
    columns: list[ColumnJson]


class ColumnsChangedJson(_Columns):
    """What holds by the record at that position."""

    position: int


@click.group("column")
def column() -> None:
    """Further columns of members, declared for good; a file's own are `fasttree describe`'s to tell."""


@column.command("list")
@prints(list[ColumnJson])
@common_options
def list_columns(session: Session) -> None:
    """Every declared column with its type."""
    rules = rules_in_force(session)
    if session.json:
        print_json(_members(rules)["columns"])
        return
    print_table(["column", "type"], [(each.name, _kind(each)) for each in rules.columns])


@column.command("declare")
@prints(ColumnsChangedJson)
@click.argument("name")
@click.argument("type_name", metavar="TYPE", type=click.Choice(_TYPES))
@click.option("--personal", is_flag=True, help="Its texts are people's own: seen by right alone, and erasable.")
@common_options
def declare(session: Session, name: str, type_name: str, *, personal: bool) -> None:
    """Lets updates and files give members values in another column. It stays for good, with its type.

    TYPE: text, integer, decimal or date. A text that is declared already becomes personal by --personal.
    """
    change = types_pb2.ColumnDeclared(name=name, type=type_name, personal=personal)
    update = types_pb2.Update(update_id=new_id(f"column-declare-{name}"), column_declared=change)
    change_rules(session, [update], _sentence, _members)


def _sentence(rules: types_pb2.Rules) -> str:
    return f"columns: {', '.join(f'{each.name} {_kind(each)}' for each in rules.columns)}"


def _kind(column: types_pb2.ColumnDeclared) -> str:
    return f"personal {column.type}" if column.personal else column.type


def _members(rules: types_pb2.Rules) -> _Columns:
    return {"columns": [{"column": each.name, "type": each.type, "personal": each.personal} for each in rules.columns]}
