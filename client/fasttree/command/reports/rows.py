"""Members as rows: chosen columns, volumes as decimals with two places, streamed as a table, CSV or JSON."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

import click
from google.protobuf.descriptor import EnumDescriptor

from fasttree.client import from_hundredths
from fasttree.command.output import Table, as_of_json, as_of_text
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

_FURTHER = types_pb2.Member.DESCRIPTOR.fields_by_name["columns"]
_VOLUMES = types_pb2.Member.DESCRIPTOR.fields_by_name["volumes"]
_HUNDREDTHS = "_hundredths"
#: Every column that each tree has, by name, as the field of Member that holds it; further ones come from its import.
KNOWN_COLUMNS = {
    field.name.removesuffix(_HUNDREDTHS): field
    for field in types_pb2.Member.DESCRIPTOR.fields
    if field not in (_FURTHER, _VOLUMES)
}

#: A table's widths come from its first rows; later, wider cells only shift their own line.
_TABLE_ROWS_AHEAD = 1_000

Member = types_pb2.Member
Values = Callable[[Sequence[Member]], list[Any]]


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


def _values(column: str) -> Values:
    """A column's values for many members at once: one pass a column is what makes a million rows quick."""
    if column == _VOLUMES.name:
        return lambda members: [_volumes(member) for member in members]
    field = KNOWN_COLUMNS.get(column)
    if field is None:
        return lambda members: [member.columns.get(column, "") for member in members]
    cell = attrgetter(field.name)
    if field.name.endswith(_HUNDREDTHS):
        return lambda members: [from_hundredths(value) for value in map(cell, members)]
    if field.enum_type is not None:
        names = enum_names(field.enum_type)
        return lambda members: [names.get(value, "") for value in map(cell, members)]
    return lambda members: list(map(cell, members))


def enum_names(enum: EnumDescriptor) -> dict[int, str]:
    """What people call the numbers of an enum: MEMBER_KIND_CUSTOMER is "customer", what is unspecified nothing."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {value.number: value.name.removeprefix(prefix).lower() for value in enum.values if value.number}


def _volumes(member: Member) -> list[dict[str, str]]:
    return [
        {
            "volume_type": volume.volume_type,
            "period": volume.period,
            "personal": from_hundredths(volume.personal_hundredths),
            "group": from_hundredths(volume.group_hundredths),
        }
        for volume in member.volumes
    ]


def _volumes_texts(members: Sequence[Member]) -> list[str]:
    return [
        " ".join(f"{one['volume_type']}:{one['period']}={one['personal']}/{one['group']}" for one in _volumes(member))
        for member in members
    ]


class Rows:
    """Turns members into rows of some columns."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self._values = [_values(column) for column in columns]
        self._text_values = [_volumes_texts if column == _VOLUMES.name else _values(column) for column in columns]

    def texts(self, members: Sequence[Member]) -> Iterable[tuple[Any, ...]]:
        """A row for each member, for tables and CSV."""
        return zip(*(values(members) for values in self._text_values), strict=True)

    def json(self, members: Sequence[Member]) -> Iterable[dict[str, Any]]:
        """Column to value for each member; volumes are texts, so that no reader makes floats of them."""
        for row in zip(*(values(members) for values in self._values), strict=True):
            yield dict(zip(self.columns, row, strict=True))


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
