"""`fasttree audit`: the commands."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import click

from fasttree.command.output import print_json, print_json_line, print_table
from fasttree.command.session import CommandError, Session, home_options
from fasttree.command.shapes import Later, prints
from fasttree.command.terminal import on_one_line

if TYPE_CHECKING:
    from services.shared.security.audit.records import Line

_POLL_S = 0.5
_HASH_DIGITS = 64

_folders_option = click.option(
    "--dir",
    "folders",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    help="State folder of a service, or its audit.folder; may be repeated. Those of the cluster of `fasttree up` that "
    "is named or here, else.",
)


class ChainVerifiedJson(TypedDict):
    """What was found of one chain of an audit log; `problem`: what is not as it was written."""

    folder: str
    chain: str
    records: int
    first: int
    newest: int
    newest_hash: str
    problem: str


def _record() -> type[Line]:
    from services.shared.security.audit.records import Line

    return Line


@click.group()
def audit() -> None:
    """Who did what, and who was refused, as the services wrote it down on this machine.

    It reads folders, and asks no service. Another machine's records: this command there; the newest ones of any part
    are in the console too, and at /audit of its HTTP port.

    `docs/security.md` says what is written, and what is not.
    """


@audit.command()
@prints(lines=Later(_record))
@_folders_option
@click.option("--who", default="", help="Whose name, or address, has this in it.")
@click.option("--rpc", default="", help="Calls with this in their name, as Switchover.")
@click.option("--since", default="", metavar="WHEN", help="From an age (90m, 2d) or a time (2026-11-27T08:00Z) on.")
@click.option("-f", "--follow", is_flag=True, help="Goes on with what is written, until Ctrl-C.")
@home_options
def show(session: Session, folders: tuple[Path, ...], who: str, rpc: str, since: str, follow: bool) -> None:
    """Records in folders of this machine, the oldest first; with --json a line each, as it stands in its file. Another
    machine's: this command there, or the newest ones in the console and at /audit of the part's HTTP port.
    """
    from fasttree.command.audit.reading import Records, folders_of, json_of, since_of

    records, begin = Records(folders_of(folders, session.homes())), since_of(since) if since else ""
    while True:
        for line in records.new():
            if line.grpc_audit_log.timestamp < begin or not _is_asked_for(line, who, rpc):
                continue
            if session.json:
                print_json_line(json_of(line))
            else:
                click.echo(on_one_line(_text(line)))
        if not follow:
            return
        time.sleep(_POLL_S)


@audit.command()
@prints(list[ChainVerifiedJson])
@_folders_option
@click.option("--newest", default="", metavar="HASH", help="As an earlier run told it: that its line is still there.")
@home_options
def verify(session: Session, folders: tuple[Path, ...], newest: str) -> None:
    """Whether every record is there, as it was written; else the first line that is not. Exit code 1 then.

    A chain's newest hash, kept elsewhere and given to a later run, proves that nothing before it was changed, taken
    away or put in, even where somebody wrote all of the files anew.
    """
    from fasttree.command.audit.reading import folders_of, verified

    if newest and (len(newest) != _HASH_DIGITS or set(newest) - set("0123456789abcdef")):
        raise CommandError(f"--newest: a hash has {_HASH_DIGITS} digits of 0-9 a-f")
    named = folders_of(folders, session.homes())
    if newest and len(named) > 1:
        raise CommandError("--newest is one folder's: name that by --dir")
    found = [(folder, each) for folder in named for each in verified(folder, newest)]
    if session.json:
        print_json(
            [
                ChainVerifiedJson(
                    folder=str(folder),
                    chain=each.chain,
                    records=each.records,
                    first=each.first,
                    newest=each.newest.record,
                    newest_hash=each.newest.hash,
                    problem=each.problem,
                )
                for folder, each in found
            ]
        )
    else:
        print_table(
            ("folder", "chain", "records", "verdict", "newest hash"),
            [
                (folder, each.chain, each.records, "broken" if each.problem else "whole", each.newest.hash)
                for folder, each in found
            ],
        )
    problems = [each.problem for _, each in found if each.problem]
    if problems:
        raise CommandError("; ".join(dict.fromkeys(problems)))


def _is_asked_for(line: Line, who: str, rpc: str) -> bool:
    told, more = line.grpc_audit_log, line.fasttree
    return (who in told.principal or who in more.peer) and rpc in told.rpc_method


def _text(line: Line) -> str:
    told, more = line.grpc_audit_log, line.fasttree
    caller = " from ".join(filter(None, (told.principal, more.peer))) or "-"
    what = told.rpc_method.rpartition("/")[2] or "-"
    details = " ".join(f"{name}={value}" for name, value in more.details.items())
    words = (told.timestamp, more.service, more.kind, caller, what, more.status, more.reason, details)
    return "  ".join(filter(None, words))
