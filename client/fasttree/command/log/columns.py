"""`fasttree column`: the columns that members have whatever file their tree is built from."""

from __future__ import annotations

import asyncio
from typing import Final, TypedDict

import click

from fasttree.client import FastTreeClientError
from fasttree.client.forms.update_ids import new_id
from fasttree.command.log.changing import change_rules, rules_in_force
from fasttree.command.output import print_json, print_table
from fasttree.command.session import Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.v1 import types_pb2

#: As the header of an import file writes them.
_TYPES = ("text", "integer", "decimal", "date")


#: All that docs/decisions/21 has of what was in a column before it was marked.
_IN_CLEAR: Final = (
    "what came in that column before is in clear, where `fasttree erase` does not reach: in trees and snapshots until "
    "the next import and newer snapshots, in import files until pusher.imports_kept newer ones have come, in the log "
    "until its records are trimmed (pusher.retention_age_s), in closed months and backups for as long as they are kept"
)
#: A node that says nothing for so long is not waited for.
_DESCRIBED_S: Final = 5.0
_UNKNOWN: Final = "no node says whether the tree has that column from a file"


class ColumnJson(TypedDict):
    """A declared column of members."""

    column: str
    type: str
    personal: bool


class _Columns(TypedDict):
    columns: list[ColumnJson]


class ColumnsChangedJson(_Columns):
    """What holds by the record at that position. Whether values of a column that became personal by it lie in clear,
    from before: no node says so: nothing."""

    position: int
    in_clear: bool | None


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

    TYPE: text, integer, decimal or date. A text that is declared already becomes personal by --personal: what came
    before lies in clear where it lay, and the answer says what removes it.
    """
    in_clear = run(_is_in_clear(session, name)) if personal else False
    change = types_pb2.ColumnDeclared(name=name, type=type_name, personal=personal)
    update = types_pb2.Update(update_id=new_id(f"column-declare-{name}"), column_declared=change)
    words = {True: _IN_CLEAR, None: f"{_UNKNOWN}; if so: {_IN_CLEAR}", False: ""}[in_clear]
    change_rules(
        session,
        [update],
        lambda rules: "; ".join(filter(None, (_sentence(rules), words))),
        lambda rules: {**_members(rules), "in_clear": in_clear},
    )


async def _is_in_clear(session: Session, name: str) -> bool | None:
    """Whether values may have come under that name by now, when nobody kept them apart; None: no node says."""
    async with session.client() as client:
        pusher = await client.get_pusher()
        declared = {each.name.casefold(): each for each in pusher.rules.columns}
        if (known := declared.get(name.casefold())) is not None:
            return not known.personal
        if not pusher.imports:
            return False
        try:
            async with asyncio.timeout(_DESCRIBED_S):
                described = await client.reports.describe_tree()
        except (FastTreeClientError, TimeoutError):
            return None
    return name.casefold() in {each.name.casefold() for each in described.columns}


def _sentence(rules: types_pb2.Rules) -> str:
    return f"columns: {', '.join(f'{each.name} {_kind(each)}' for each in rules.columns)}"


def _kind(column: types_pb2.ColumnDeclared) -> str:
    return f"personal {column.type}" if column.personal else column.type


def _members(rules: types_pb2.Rules) -> _Columns:
    return {"columns": [{"column": each.name, "type": each.type, "personal": each.personal} for each in rules.columns]}
