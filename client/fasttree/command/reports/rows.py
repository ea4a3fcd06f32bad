"""Members as rows: chosen columns, volumes as decimals with two places, streamed as a table, CSV or JSON."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import click

from fasttree.client.forms.members import Member, Rows, as_of_json
from fasttree.command.output import Table, as_of_text
from fasttree.command.terminal import write_raw
from fasttree.v1 import report_pb2, types_pb2

DEFAULT_COLUMNS = (
    "member_id",
    "sponsor_id",
    "level",
    "status",
    "rank",
    "joined_on",
    "pv",
    "gv",
    "downline_count",
)

#: A table's widths come from its first rows; later, wider cells only shift their own line.
_TABLE_ROWS_AHEAD = 1_000


def parse_columns(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """A click callback: `--columns a,b,c`; a name that holds a comma stands in quotes, as in CSV."""
    if value is None:
        return DEFAULT_COLUMNS
    try:
        parts = [part.strip() for row in csv.reader([value], skipinitialspace=True, strict=True) for part in row]
    except csv.Error as error:
        raise click.BadParameter(f"{error}: put a name that holds a comma in quotes, and double the quote") from error
    columns = tuple(part for part in parts if part)
    if not columns:
        raise click.BadParameter("name at least one column, such as member_id,pv")
    if len(set(columns)) != len(columns):
        raise click.BadParameter("a column stands there twice")
    return columns


def print_members(
    columns: Sequence[str], as_of: types_pb2.AsOf, members: Sequence[Member], *, as_json: bool, **further: Any
) -> None:
    """Members of one answer: as a table with a line that says what it is as of, or as one JSON object."""
    rows = Rows(columns)
    if as_json:
        content = {"as_of": as_of_json(as_of), "members": list(rows.json(members)), **further}
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    lines = [[str(cell) for cell in row] for row in rows.texts(members)]
    click.echo(Table(columns, lines).text())
    notes = "".join(f"; {name.replace('_', ' ')} {value}" for name, value in further.items() if isinstance(value, int))
    click.echo(f"{len(lines)} {'member' if len(lines) == 1 else 'members'}, {as_of_text(as_of)}{notes}")


Batches = AsyncIterator[tuple[types_pb2.AsOf | None, Sequence[Member]]]


class _LineFeeds:
    """Standard output with line feeds at the ends of lines; a writer that writes these itself puts no quotes around a
    carriage return. Into a file the data goes as it is, so that an import has it again."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()

    def write(self, line: str) -> int:
        text = line.removesuffix("\r\n") + "\n"
        return sys.stdout.write(text) if self._is_terminal else write_raw(sys.stdout, text)


def typed_header(columns: Sequence[str], described: Iterable[report_pb2.ColumnDescription]) -> list[str]:
    """A header line from which an import knows again what each further column holds."""
    names = {
        column.name: report_pb2.ColumnType.Name(column.type).removeprefix("COLUMN_TYPE_").lower()
        for column in described
        if column.type != report_pb2.COLUMN_TYPE_TEXT or ":" in column.name
    }
    return [f"{column}:{names[column]}" if column in names else column for column in columns]


async def stream_csv(columns: Sequence[str], batches: Batches, header: Sequence[str]) -> None:
    """CSV with a header line, written as rows come."""
    rows = Rows(columns)
    writer = csv.writer(_LineFeeds(), lineterminator="\r\n")
    writer.writerow(header)
    async for as_of, members in batches:
        if as_of is not None and sys.stderr.isatty():
            click.echo(as_of_text(as_of), err=True)
        writer.writerows(rows.texts(members))
    sys.stdout.flush()


async def stream_json(columns: Sequence[str], batches: Batches) -> None:
    """One JSON object with "as_of" and "members", a member a line, written as rows come."""
    rows = Rows(columns)
    encode = json.JSONEncoder(ensure_ascii=False).encode
    separator = "\n"
    begun = False
    async for as_of, members in batches:
        if not begun:
            sys.stdout.write(f'{{"as_of": {encode(as_of_json(as_of or types_pb2.AsOf()))}, "members": [')
            begun = True
        if members:
            sys.stdout.write(separator + ",\n".join(map(encode, rows.json(members))))
            separator = ",\n"
    sys.stdout.write("\n]}\n" if begun else '{"as_of": null, "members": []}\n')
    sys.stdout.flush()


async def stream_table(columns: Sequence[str], batches: Batches) -> None:
    """A table whose widths come from its first rows, and a last line with the count."""
    rows = Rows(columns)
    ahead: list[list[str]] | None = []
    table = Table(columns, [])
    seen = types_pb2.AsOf()
    count = 0
    async for as_of, members in batches:
        seen = as_of or seen
        count += len(members)
        lines = [[str(cell) for cell in row] for row in rows.texts(members)]
        if ahead is None:
            sys.stdout.writelines(table.line(line) + "\n" for line in lines)
            continue
        ahead += lines
        if len(ahead) >= _TABLE_ROWS_AHEAD:
            table = Table(columns, ahead)
            sys.stdout.write(table.text() + "\n")
            ahead = None
    if ahead is not None:
        sys.stdout.write(Table(columns, ahead).text() + "\n")
    sys.stdout.write(f"{count} {'member' if count == 1 else 'members'}, {as_of_text(seen)}\n")
    sys.stdout.flush()
