"""Commands that ask the tree: member, upline, frontline, summary, downline, top, holding-tank, search, describe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import click

from fasttree.client import Reports, from_hundredths
from fasttree.client.counts import counted
from fasttree.client.forms.members import KNOWN_COLUMNS, as_of_json
from fasttree.command.output import as_of_text, print_json, print_table
from fasttree.command.ranges import COUNT, WholeRange
from fasttree.command.reports.answers import (
    CountedMembersJson,
    DescribedJson,
    FoundMembersJson,
    MembersJson,
    SummaryJson,
)
from fasttree.command.reports.asked import Asked, answer_options, report_options
from fasttree.command.reports.filters import filter_options
from fasttree.command.reports.rows import (
    DEFAULT_COLUMNS,
    Batches,
    parse_columns,
    print_members,
    stream_csv,
    stream_json,
    stream_table,
    typed_header,
)
from fasttree.command.session import Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.v1 import report_pb2, types_pb2

#: Rows that are asked for at once: the most that a node gives.
PAGE_SIZE = 10_000

_DIMENSIONS = {
    report_pb2.SUMMARY_DIMENSION_LEVEL: "level",
    report_pb2.SUMMARY_DIMENSION_STATUS: "status",
    report_pb2.SUMMARY_DIMENSION_RANK: "rank",
    report_pb2.SUMMARY_DIMENSION_KIND: "kind",
}
#: Those whose groups are numbers, as in the rows of members.
_NUMBERED = (report_pb2.SUMMARY_DIMENSION_LEVEL, report_pb2.SUMMARY_DIMENSION_RANK)


columns_option = click.option(
    "--columns",
    callback=parse_columns,
    metavar="A,B,…",
    help=f"Columns; default {','.join(DEFAULT_COLUMNS)}. Further ones: `fasttree describe`; * for all.",
)


as_number_option = click.option(
    "--as-number", is_flag=True, help="Sort texts that are numbers by their value, the others after them."
)


@contextlib.asynccontextmanager
async def _asking(
    session: Session, asked: Asked, columns: Sequence[str]
) -> AsyncIterator[tuple[Reports, tuple[str, ...]]]:
    """Whom to ask, and the columns that are shown."""
    async with session.client() as client:
        reports = asked.reports(client)
        yield reports, await _resolved(reports, columns, asked)


async def _resolved(reports: Reports, columns: Sequence[str], asked: Asked) -> tuple[str, ...]:
    """Columns with `*` spelled out; those that whoever asks may not see are told of, since a file without them that is
    imported empties them."""
    if "*" not in columns:
        return tuple(columns)
    described = await reports.describe_tree(as_of_period=asked.as_of_period)
    if hidden := [column.name for column in described.columns if column.hidden]:
        click.echo(f"warning: without {', '.join(hidden)}: personal, and no rule lets you see them", err=True)
    return (*KNOWN_COLUMNS, *(column.name for column in described.columns if not column.hidden))


@click.command()
@prints(FoundMembersJson)
@click.argument("member_ids", nargs=-1, required=True, metavar="ID…")
@columns_option
@common_options
@report_options
def member(session: Session, member_ids: tuple[str, ...], columns: tuple[str, ...], asked: Asked) -> None:
    """Members by id, in the order asked."""

    async def body() -> report_pb2.BatchGetMembersResponse:
        nonlocal columns
        async with _asking(session, asked, columns) as (reports, columns):
            return await reports.batch_get_members(member_ids, options=asked.options(columns))

    answer = run(body())
    unknown = list(answer.unknown_member_ids)
    further = {"unknown_member_ids": unknown} if session.json else {}
    if answer.members or session.json:
        print_members(columns, answer.as_of, answer.members, as_json=session.json, **further)
    if unknown:
        click.echo(f"error: no member {', '.join(unknown)}; `fasttree search PREFIX` finds ids", err=True)
        sys.exit(1)


@click.command()
@prints(MembersJson)
@click.argument("member_id", metavar="ID")
@click.option("--to", "to_member_id", default="", metavar="ID", help="The last one wanted.")
@columns_option
@common_options
@report_options
def upline(session: Session, member_id: str, to_member_id: str, columns: tuple[str, ...], asked: Asked) -> None:
    """Everyone above a member, nearest first."""

    async def body() -> tuple[types_pb2.AsOf, list[types_pb2.Member]]:
        nonlocal columns
        async with _asking(session, asked, columns) as (reports, columns):
            members: list[types_pb2.Member] = []
            page_token = ""
            while True:
                answer = await reports.list_upline(
                    member_id,
                    to_member_id=to_member_id,
                    options=asked.options(columns),
                    page_size=PAGE_SIZE,
                    page_token=page_token,
                )
                members += answer.members
                page_token = answer.next_page_token
                if not page_token:
                    return answer.as_of, members

    as_of, members = run(body())
    print_members(columns, as_of, members, as_json=session.json)


@click.command()
@prints(MembersJson)
@click.argument("member_id", metavar="[ID]", default="")
@click.option("--sort", default="", metavar="COLUMN", help="Sort by this column; -COLUMN: largest first.")
@as_number_option
@columns_option
@common_options
@report_options
def frontline(
    session: Session, member_id: str, sort: str, as_number: bool, columns: tuple[str, ...], asked: Asked
) -> None:
    """A member's direct children, each with its leg's totals; no ID: the roots."""
    if as_number and not sort:
        raise click.UsageError("--as-number goes with --sort: it says how texts are sorted.")

    async def body() -> tuple[types_pb2.AsOf, list[types_pb2.Member]]:
        nonlocal columns
        async with _asking(session, asked, columns) as (reports, columns):
            request = report_pb2.ListFrontLineRequest(
                member_id=member_id,
                options=asked.options(columns),
                sort=_sort_key(sort, as_number=as_number),
                page_size=PAGE_SIZE,
            )
            members: list[types_pb2.Member] = []
            while True:
                answer = await reports.list_front_line(request)
                members += answer.members
                request.page_token = answer.next_page_token
                if not request.page_token:
                    return answer.as_of, members

    as_of, members = run(body())
    print_members(columns, as_of, members, as_json=session.json)


def _sort_key(text: str, *, as_number: bool) -> report_pb2.SortKey | None:
    if not text:
        return None
    return report_pb2.SortKey(column=text.removeprefix("-"), descending=text.startswith("-"), as_number=as_number)


@click.command()
@prints(SummaryJson)
@click.argument("member_id", metavar="[ID]", default="")
@filter_options
@common_options
@report_options
def summary(session: Session, member_id: str, wanted: report_pb2.DownlineFilter, asked: Asked) -> None:
    """Members and personal volume of a downline by level, status, rank and kind; no ID: every root's."""

    async def body() -> report_pb2.SummarizeDownlineResponse:
        async with session.client() as client:
            request = report_pb2.SummarizeDownlineRequest(member_id=member_id, options=asked.options(), filter=wanted)
            return await asked.reports(client).summarize_downline(request)

    answer = run(body())
    if session.json:
        content: dict[str, Any] = {"as_of": as_of_json(answer.as_of), "total": _group(answer.total)}
        for part in answer.summaries:
            name = _DIMENSIONS[part.dimension]
            content[f"by_{name}"] = [{name: _key(part.dimension, group.key), **_group(group)} for group in part.groups]
        print_json(content)
        return
    for part in answer.summaries:
        name = _DIMENSIONS[part.dimension]
        print_table(
            [name, "members", "pv"],
            [[group.key, group.members, from_hundredths(group.pv_hundredths)] for group in part.groups],
        )
        click.echo()
    total = _group(answer.total)
    click.echo(f"{counted(total['members'], 'member')}, pv {total['pv']}, {as_of_text(answer.as_of)}")


def _key(dimension: report_pb2.SummaryDimension.ValueType, key: str) -> int | str:
    return int(key) if dimension in _NUMBERED else key


def _group(group: report_pb2.SummaryGroup) -> dict[str, Any]:
    return {"members": group.members, "pv": from_hundredths(group.pv_hundredths)}


@click.command()
@prints(MembersJson)
@click.argument("member_id", metavar="[ID]", default="")
@filter_options
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), help="How rows are written.")
@columns_option
@common_options
@report_options
def downline(
    session: Session,
    member_id: str,
    wanted: report_pb2.DownlineFilter,
    form: str | None,
    columns: tuple[str, ...],
    asked: Asked,
) -> None:
    """A whole downline in tree order, the member itself first; no ID: every root's.

    With filters, those of it that meet all of them.
    """
    if session.json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} are two forms: leave one of them out")

    async def batches(reports: Reports, shown: Sequence[str]) -> Batches:
        request = report_pb2.StreamDownlineRequest(member_id=member_id, options=asked.options(shown), filter=wanted)
        async for answer in reports.stream_downline(request):
            yield answer.as_of if answer.HasField("as_of") else None, answer.members

    async def body() -> None:
        async with session.client() as client:
            reports = asked.reports(client)
            shown = await _resolved(reports, columns, asked)
            if form == "csv":
                further = set(shown) - set(KNOWN_COLUMNS)
                described = (await reports.describe_tree(as_of_period=asked.as_of_period)).columns if further else ()
                await stream_csv(shown, batches(reports, shown), typed_header(shown, described))
                return
            write = {"json": stream_json, "table": stream_table}
            await write[form or ("json" if session.json else "table")](shown, batches(reports, shown))

    run(body())


@click.command()
@prints(CountedMembersJson)
@click.argument("member_id", metavar="[ID]", default="")
@click.option("--by", "column", default="gv", show_default=True, metavar="COLUMN", help="The largest of this column.")
@filter_options
@click.option("--count", type=WholeRange(1, 10_000), default=10, show_default=True)
@as_number_option
@columns_option
@common_options
@report_options
def largest(
    session: Session,
    member_id: str,
    column: str,
    wanted: report_pb2.DownlineFilter,
    count: int,
    as_number: bool,
    columns: tuple[str, ...],
    asked: Asked,
) -> None:
    """The members of a downline with the most of a column; no ID: of the whole tree."""

    async def body() -> report_pb2.ListDownlineResponse:
        nonlocal columns
        async with _asking(session, asked, columns) as (reports, columns):
            request = report_pb2.ListDownlineRequest(
                member_id=member_id,
                options=asked.options(columns),
                filter=wanted,
                sort=report_pb2.SortKey(column=column, descending=True, as_number=as_number),
                page_size=count,
            )
            return await reports.list_downline(request)

    answer = run(body())
    print_members(columns, answer.as_of, answer.members, as_json=session.json, total_count=answer.total_count)


@click.command("holding-tank")
@prints(CountedMembersJson)
@click.argument("member_id", metavar="[ID]", default="")
@click.option("--limit", type=COUNT, default=1_000, show_default=True)
@columns_option
@common_options
@report_options
def holding_tank(session: Session, member_id: str, limit: int, columns: tuple[str, ...], asked: Asked) -> None:
    """Members who have a sponsor and no placement yet; ID: only those sponsored in this member's downline."""

    async def body() -> tuple[report_pb2.ListHoldingTankResponse, list[types_pb2.Member]]:
        nonlocal columns
        async with _asking(session, asked, columns) as (reports, columns):
            request = report_pb2.ListHoldingTankRequest(member_id=member_id, options=asked.options(columns))
            members: list[types_pb2.Member] = []
            while True:
                request.page_size = min(limit - len(members), PAGE_SIZE)
                answer = await reports.list_holding_tank(request)
                members += answer.members
                request.page_token = answer.next_page_token
                if not request.page_token or len(members) >= limit:
                    return answer, members

    answer, members = run(body())
    print_members(columns, answer.as_of, members, as_json=session.json, total_count=answer.total_count)


@click.command()
@prints(MembersJson)
@click.argument("prefix")
@click.option("--limit", type=WholeRange(1, 1_000), default=20, show_default=True)
@columns_option
@common_options
@report_options
def search(session: Session, prefix: str, limit: int, columns: tuple[str, ...], asked: Asked) -> None:
    """Members whose id begins so."""

    async def body() -> report_pb2.SearchMembersResponse:
        nonlocal columns
        async with _asking(session, asked, columns) as (reports, columns):
            return await reports.search_members(prefix, limit=limit, options=asked.options(columns))

    answer = run(body())
    print_members(columns, answer.as_of, answer.members, as_json=session.json)
    if len(answer.members) == limit and not session.json:
        click.echo("there may be more: give a greater --limit, or more of the id", err=True)


@click.command()
@prints(DescribedJson)
@common_options
@answer_options
def describe(session: Session, asked: Asked) -> None:
    """What the tree has: counts, volume types, periods, columns."""

    async def body() -> report_pb2.DescribeTreeResponse:
        async with session.client() as client:
            return await asked.reports(client).describe_tree(
                min_position=asked.min_position, as_of_period=asked.as_of_period
            )

    answer = run(body())
    columns = {
        column.name: report_pb2.ColumnType.Name(column.type).removeprefix("COLUMN_TYPE_").lower()
        for column in answer.columns
    }
    content: dict[str, Any] = {
        "members": answer.members,
        "roots": answer.roots,
        "holding_tank": answer.holding_tank,
        "volume_types": list(answer.volume_types),
        "periods": list(answer.periods),
        "further_columns": columns,
        "personal_columns": [column.name for column in answer.columns if column.personal],
    }
    if session.json:
        print_json({"as_of": as_of_json(answer.as_of), **content})
        return
    personal = content.pop("personal_columns")
    shown = [f"{name} ({'personal ' if name in personal else ''}{kind})" for name, kind in columns.items()]
    content["further_columns"] = shown or ["none"]
    for name, value in content.items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        click.echo(f"{name.replace('_', ' '):16}{text}")
    click.echo(as_of_text(answer.as_of))
