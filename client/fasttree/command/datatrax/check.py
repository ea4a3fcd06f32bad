"""`fasttree datatrax check`: whether the DataTrax side and the servers fit, for people and for vsched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import click

from fasttree.client.counts import counted
from fasttree.command.datatrax.status import cluster_of, service_address
from fasttree.command.output import print_json
from fasttree.command.ranges import SecondsRange, WholeRange
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.command.terminal import on_one_line

if TYPE_CHECKING:
    from fasttree.command.datatrax.places import Check

#: What a server may take to answer, where --timeout does not say it: a check is to end soon.
_ANSWER_S = 5.0
#: How far a server's clock may be from this machine's.
CLOCK_S = 2.0
_FOLDER = Path("/datatrax/fasttree")


class CheckJson(TypedDict):
    """One thing that was looked at: what was found, and the mend where it is wrong."""

    what: str
    good: bool
    said: str


def check_json(found: Check) -> CheckJson:
    """For programs."""
    return {"what": found.what, "good": found.good, "said": found.said}


class ChecksJson(TypedDict):
    """A line for each thing that was looked at; `good`: nothing of it is wrong."""

    good: bool
    checks: list[CheckJson]


@click.command()
@prints(ChecksJson)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=_FOLDER)
@click.option(
    "--cbldatatrax",
    type=click.Path(path_type=Path, dir_okay=False),
    help="DataTrax's configuration; CBLDATATRAX in that folder where not given and there.",
)
@click.option("--environment", default="", help="Whose cluster of it is meant, such as live.")
@click.option(
    "--root", type=click.Path(path_type=Path, file_okay=False), help="A folder that stands for / in its paths."
)
@click.option("--port", type=WholeRange(1, 65535), help="The instant port, where CBLDATATRAX is not to say it.")
@click.option("--http", metavar="HOST:PORT", help="The service's HTTP port, where endpoints don't say it.")
@click.option(
    "--clock-max",
    "clock_s",
    type=SecondsRange(0.0),
    default=CLOCK_S,
    show_default=True,
    metavar="SECONDS",
    help="How far a server's clock may be from this machine's.",
)
@common_options
def check(
    session: Session,
    folder: Path,
    cbldatatrax: Path | None,
    environment: str,
    root: Path | None,
    port: int | None,
    http: str | None,
    clock_s: float,
) -> None:
    """Names, ports, VIP, clocks, versions, folders, and FOLDER's host file against CBLDATATRAX: a line for each.

    FOLDER is /datatrax/fasttree where not given. Exit code 1 where a line is wrong; each says the mend.
    """

    def tell(each: Check) -> None:
        if not session.json:
            click.echo(on_one_line(f"{'ok   ' if each.good else 'WRONG'} {each.what}: {each.said}"))

    found = run(checked(session, folder.absolute(), cbldatatrax, environment, root, port, http, clock_s, tell=tell))
    wrong = sum(not each.good for each in found)
    if session.json:
        print_json(ChecksJson(good=not wrong, checks=[check_json(each) for each in found]))
    if wrong:
        raise CommandError(f"{counted(wrong, 'line is', 'lines are')} wrong")


async def checked(
    session: Session,
    folder: Path,
    cbldatatrax: Path | None,
    environment: str,
    root: Path | None,
    port: int | None,
    http: str | None = None,
    clock_s: float = CLOCK_S,
    *,
    tell: Callable[[Check], None] = lambda each: None,
) -> list[Check]:
    """Every line, each told as it is found. Raises CommandError."""
    from fasttree.command.datatrax.checking import Patience, checks
    from fasttree.command.datatrax.places import read_place

    endpoints = cluster_of(session)
    answer_s = session.timeout_s if "--timeout" in session.given else _ANSWER_S
    place = read_place(folder, cbldatatrax, environment, root, port, endpoints)
    found: list[Check] = []
    async for each in checks(place, endpoints, http or service_address(session), Patience(answer_s, clock_s)):
        found.append(each)
        tell(each)
    return found
