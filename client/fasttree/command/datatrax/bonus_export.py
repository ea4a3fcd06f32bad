"""`fasttree datatrax bonus-export`: the tree and its volumes as of one position, for a bonus run."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO, TypedDict

import click

from fasttree.client import Client, from_hundredths
from fasttree.client.counts import counted
from fasttree.client.files import check_replaceable
from fasttree.client.forms.members import KNOWN_COLUMNS, AsOfJson, Rows, as_of_json
from fasttree.command.output import as_of_text, print_json
from fasttree.command.reports.rows import typed_header
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.v1 import report_pb2, types_pb2

_OWN = ("member_id", "sponsor_id", "placement_id", "placement_leg", "kind", "status", "rank", "joined_on")
_LAST = ("gv",)
_MARKER = ".done"


class BonusExportJson(TypedDict):
    """The file, and what it is as of."""

    file: str
    members: int
    period: str
    as_of: AsOfJson


@click.command("bonus-export")
@prints(BonusExportJson)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--period", default="", metavar="YYYY-MM", help="Whose volumes; the current one where not given.")
@click.option("--as-of-period", default="", metavar="YYYY-MM", help="As it was when this month was closed for good.")
@click.option("--min-position", type=int, default=0, help="Wait until this position is applied.")
@common_options
def bonus_export(session: Session, file: Path, period: str, as_of_period: str, min_position: int) -> None:
    """Writes every member with its volumes of a period to FILE, as dotbon1 took them: CSV in the form of imports.

    FILE is there once it is whole; FILE.done beside it holds the log position that it is as of.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    marker = file.with_name(file.name + _MARKER)

    async def body() -> tuple[types_pb2.AsOf, str, int]:
        async with session.client() as client:
            return await _export(client, part, period or as_of_period, as_of_period, min_position)

    try:
        check_replaceable(file)
        check_replaceable(marker)
        as_of, shown_period, count = run(body())
        # Never one file beside the position of another.
        marker.unlink(missing_ok=True)
        os.replace(part, file)
        part.write_text(f"{as_of.position}\n")
        os.replace(part, marker)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    if session.json:
        print_json(BonusExportJson(file=str(file), members=count, period=shown_period, as_of=as_of_json(as_of)))
        return
    click.echo(f"{file}: {counted(count, 'member')}, volumes of {shown_period}, {as_of_text(as_of)}")


async def _export(
    client: Client, part: Path, period: str, as_of_period: str, min_position: int
) -> tuple[types_pb2.AsOf, str, int]:
    """What the file is as of, the period, and its rows."""
    described = await client.reports.describe_tree(as_of_period=as_of_period)
    if hidden := [column.name for column in described.columns if column.hidden]:
        # It comes back as an import, which would empty them.
        raise CommandError(
            f"the file would lack {', '.join(hidden)}: personal, and no rule lets you see them; export by the "
            "certificate or token of a role that does (`fasttree policy test ROLE /personal-columns`)"
        )
    shown_period = period or described.periods[0]
    further = [column.name for column in described.columns if column.name not in KNOWN_COLUMNS]
    volumes = [f"{each.lower()}:{shown_period}" for each in described.volume_types]
    request = report_pb2.StreamDownlineRequest(
        options=report_pb2.ReportOptions(
            columns=[*_OWN, *_LAST, "volumes", *further],
            period=period,
            as_of_period=as_of_period,
            min_position=min_position,
        )
    )
    rows, as_of, count = Rows([*_OWN, *further, *_LAST]), types_pb2.AsOf(), 0
    # Whole or not at all: it gets its name at the end.
    with part.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*_OWN, *typed_header(further, described.columns), *_LAST, *volumes])
        async for answer in client.reports.stream_downline(request):
            if answer.HasField("as_of"):
                as_of = answer.as_of
            count += len(answer.members)
            amounts = (_amounts(member, described.volume_types, shown_period) for member in answer.members)
            writer.writerows((*row, *more) for row, more in zip(rows.texts(answer.members), amounts, strict=True))
        _sync(file)
    return as_of, shown_period, count


def _amounts(member: types_pb2.Member, volume_types: Sequence[str], period: str) -> Iterator[Any]:
    found = {each.volume_type: each.personal_hundredths for each in member.volumes if each.period == period}
    return (from_hundredths(found.get(volume_type, 0)) for volume_type in volume_types)


def _sync(file: TextIO) -> None:
    file.flush()
    os.fsync(file.fileno())
