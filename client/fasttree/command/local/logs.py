"""`fasttree logs`: what the processes of a cluster on this machine wrote."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TypedDict

import click

from fasttree.command.output import print_json_line
from fasttree.command.ranges import COUNT_OR_NONE
from fasttree.command.session import CommandError, Session, home_options
from fasttree.command.shapes import prints
from fasttree.command.terminal import on_one_line

_POLL_S = 0.2
#: Most that is read of a file at once: of a longer one, its end.
_READ_BYTES_MAX = 1 << 20


class LogLineJson(TypedDict):
    """A line that a process wrote."""

    service: str
    line: str


@click.command()
@prints(lines=LogLineJson)
@click.argument("services", nargs=-1, metavar="[SERVICE]…")
@click.option("-f", "--follow", is_flag=True, help="Goes on with what is written, until Ctrl-C.")
@click.option("-n", "--lines", "count", type=COUNT_OR_NONE, default=20, show_default=True, help="Last lines of each.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder of `fasttree up`; where not given, that of the endpoints file, else .fasttree or .demo here.",
)
@home_options
def logs(session: Session, services: tuple[str, ...], follow: bool, count: int, folder: Path | None) -> None:
    """What coordinator, pusher, nodes and VIP of a cluster of `fasttree up` wrote; SERVICE: theirs alone.

    It may run or have ended. On other machines, the logs are where the services were started: `journalctl -u …`.
    """
    tails = [_Tail(path) for path in _chosen(_folder(session, folder), services)]
    width = max(len(tail.name) for tail in tails) if len(tails) > 1 else 0
    show = _print_json if session.json else partial(_print, width=width)
    for tail in tails:
        show(tail.name, tail.new_lines()[-count:] if count else tail.new_lines()[:0])
    while follow:
        time.sleep(_POLL_S)
        for tail in tails:
            show(tail.name, tail.new_lines())


def _folder(session: Session, named: Path | None) -> Path:
    if named is not None:
        session.refuse("--endpoints", why="--dir says where the logs are")
    places = [named] if named is not None else session.homes()
    for place in places:
        if (place / "logs").is_dir():
            return place / "logs"
    raise CommandError(
        f"no logs in {' or '.join(map(str, places))}: name the folder of `fasttree up` by --dir, or its endpoints.json "
        "by --endpoints; logs of services that were started otherwise are where they were started"
    )


def _chosen(folder: Path, services: Sequence[str]) -> list[Path]:
    there = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if unknown := [service for service in services if service not in there]:
        raise CommandError(f"no log of {', '.join(unknown)} in {folder}; there are: {', '.join(there) or 'none'}")
    if not there:
        raise CommandError(f"{folder} is empty: nothing was started there yet")
    return [there[service] for service in dict.fromkeys(services)] or list(there.values())


def _print_json(name: str, lines: Sequence[str]) -> None:
    for line in lines:
        print_json_line(LogLineJson(service=name, line=line))


def _print(name: str, lines: Sequence[str], width: int) -> None:
    before = f"{name:{width}}  " if width else ""
    for line in lines:
        click.echo(before + on_one_line(line))


class _Tail:
    """A log file, from its end on. One that is begun anew, or put aside, is read from its first line."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self._path = path
        self._inode = 0
        self._offset = 0
        self._rest = b""

    def new_lines(self) -> list[str]:
        """Whole lines since the call before; at first, those at the file's end."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._inode, self._offset, self._rest = status.st_ino, 0, b""
                if status.st_size - self._offset > _READ_BYTES_MAX:
                    self._offset, self._rest = status.st_size - _READ_BYTES_MAX, b""
                file.seek(self._offset)
                content = file.read(_READ_BYTES_MAX)
        except FileNotFoundError:  # between the old one and the new one
            return []
        self._offset += len(content)
        *lines, self._rest = (self._rest + content).split(b"\n")
        self._rest = self._rest[-_READ_BYTES_MAX:]
        return [line.decode(errors="replace") for line in lines]
