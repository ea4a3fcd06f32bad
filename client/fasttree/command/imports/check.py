"""`fasttree import --check`: what the nodes would say of a file, with nothing uploaded and no id used.

The services' own reader says it, in a process of its own: the command imports nothing of the services, and a second
reader would say something else one day.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import click

from fasttree.client import FastTreeClientError
from fasttree.client.counts import counted
from fasttree.command.imports.mapping import as_options
from fasttree.command.output import Progress, print_json
from fasttree.command.processes import inherited_environment, process_environment, python_command
from fasttree.command.session import CommandError, Session

_PROCESS = "services.treenode.imports.checking.process"
_LINE_BYTES_MAX = 64 << 20
#: The pusher is asked for its rules, once; the check goes on without them.
_RULES_S = 5.0
_QUIET_S = 3.0
#: What a cluster begins with where nobody says anything else.
_FIRST_RULES: dict[str, Any] = {"volume_types": ["PV"], "periods": ["2000-01"], "columns": {}}


class GuessJson(TypedDict):
    """What a file's form seems to be, and the option that would say so."""

    says: str
    option: str


class FaultJson(TypedDict):
    """What is wrong at one place; line 0: with the whole file."""

    line: int
    column: str
    reason: str


class FaultKindJson(TypedDict):
    """Rows that are wrong alike, and the first lines of them."""

    count: int
    column: str
    reason: str
    lines: list[int]


class CheckedJson(TypedDict):
    """What would become of an import file; `command`: how it would be imported, `rules`: by whose it was checked."""

    file: str
    good: bool
    rows: int
    refused_rows: int
    guesses: list[GuessJson]
    problems: list[FaultJson]
    kinds: list[FaultKindJson]
    remark: str
    written_rows: int
    command: str
    rules: str


async def check(session: Session, file: Path, refused: Path | None, form: Mapping[str, Any]) -> None:
    """Tells all that is wrong with the file, and raises CommandError where anything is. `form`: what is said of it."""
    paths = _paths(file, refused)
    rules, whose = await _rules(session)
    report = await _report(session, file, {**paths, **rules, "profile": form})
    options = [*as_options(form), *(guess["option"] for guess in report["guesses"] if guess["option"])]
    retry = " ".join(["fasttree import", shlex.quote(str(file)), *options])
    if session.json:
        print_json(_as_json(file, report, whose, retry))
    else:
        _print(file, report, whose, refused)
    if report["refused_rows"] or report["problems"]:
        raise CommandError(f"{file.name} can't be imported as it is; nothing was uploaded")
    if report["guesses"]:
        raise CommandError(f"{file.name} can't be imported as it is; if that is what it means: {retry}")


def _paths(file: Path, refused: Path | None) -> dict[str, Any]:
    for path in (file, refused):
        if path is not None and not _is_text(path.absolute()):
            raise CommandError(f"{path}: a name on the way to it is no UTF-8: rename it")
    if not file.is_file():
        raise CommandError(f"{file} can't be read: " + ("it is no file" if file.exists() else "there is no such file"))
    if refused is not None and refused.exists() and (not refused.is_file() or refused.samefile(file)):
        raise CommandError(f"--refused {refused}: name a file of its own: the refused rows are written there")
    return {"path": str(file.absolute()), "refused_path": str(refused.absolute()) if refused else ""}


def _is_text(path: Path) -> bool:
    try:
        return bool(str(path).encode())
    except UnicodeEncodeError:
        return False


async def _rules(session: Session) -> tuple[dict[str, Any], str]:
    """What the log says of volume types, periods and columns; and where that is from."""
    try:
        async with session.client(timeout_s=min(_RULES_S, session.timeout_s)) as client:
            rules = (await client.get_pusher()).rules
    except (CommandError, FastTreeClientError):
        return _FIRST_RULES, "no cluster was asked: volume types but PV, and columns that are declared, are not known"
    periods = sorted(rules.open_periods, key=lambda period: period != rules.current_period)
    periods += [late.period for late in rules.late_periods]
    return {
        "volume_types": list(rules.volume_types) or _FIRST_RULES["volume_types"],
        "periods": periods or _FIRST_RULES["periods"],
        "columns": {column.name: column.type for column in rules.columns},
        "sealed_periods": list(rules.sealed_periods),
    }, ""


async def _report(session: Session, file: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Has the file read by the services' own reader."""
    process = await asyncio.create_subprocess_exec(
        *python_command(_PROCESS),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=inherited_environment() | process_environment(),
        limit=_LINE_BYTES_MAX,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    try:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.close()
        answer = await _answer(process, Progress(quiet=session.json), file)
        if answer is None:
            last = (await errors).decode(errors="replace").strip().rpartition("\n")[2]
            if last.startswith("ModuleNotFoundError"):
                last += ", which the image fasttree-slim leaves out: check it in the image fasttree"
            raise CommandError(f"{file.name} can't be checked: the reader ended: {last or await process.wait()}")
        if answer["type"] == "Failed":
            raise CommandError(answer["reason"])
        return answer
    finally:
        errors.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _answer(process: asyncio.subprocess.Process, progress: Progress, file: Path) -> dict[str, Any] | None:
    """What the reader says last; None where it ended without a word."""
    assert process.stdout is not None
    size_bytes = os.stat(file).st_size
    reading = asyncio.ensure_future(process.stdout.readline())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_QUIET_S):
            await asyncio.shield(reading)
    if not reading.done():
        progress.renew(f"checking {file.name}")
    line = await reading
    while line:
        answer: dict[str, Any] = json.loads(line)
        match answer["type"]:
            case "Compiling":
                progress.line("getting ready: compiles the reader for this machine, once, which takes a minute or two")
            case "Checking":
                progress.percent(f"checking {file.name}", int(size_bytes * answer["share"]), size_bytes, lines=False)
            case _:
                progress.clear()
                return answer
        line = await process.stdout.readline()
    return None


def _as_json(file: Path, report: dict[str, Any], whose: str, retry: str) -> dict[str, Any]:
    good = not report["problems"] and not report["refused_rows"] and not report["guesses"]
    told = {name: value for name, value in report.items() if name != "type"}
    return {"file": str(file), "good": good, **told, "command": retry, "rules": whose or "those of the log"}


def _print(file: Path, report: dict[str, Any], whose: str, refused: Path | None) -> None:
    rows = counted(report["rows"], "row")
    if report["guesses"]:
        click.echo(f"{file.name} is of another form than imports have; it seems that")
    for guess in report["guesses"]:
        click.echo(f"  {guess['says']}" + (f"  ({guess['option']})" if guess["option"] else ""))
    if report["guesses"]:
        click.echo("Read so:")
    if report["refused_rows"]:
        click.echo(f"{file.name}: {rows}, {report['refused_rows']:,} of them refused")
    elif report["problems"]:
        click.echo(f"{file.name}: refused" + (f"; its {rows} are good" if report["rows"] else ""))
    else:
        click.echo(f"{file.name}: {rows}, all good")
    for problem in report["problems"]:
        place = f"line {problem['line']}" if problem["line"] else "file"
        click.echo(f"  {place}{_column(problem)}: {problem['reason']}")
    for kind in report["kinds"]:
        more = ", …" if kind["count"] > len(kind["lines"]) else ""
        lines = "line " if kind["count"] == 1 else "lines "
        click.echo(f"  {kind['count']:,} x{_column(kind, ' whole row')}: {kind['reason']}")
        click.echo(f"    {lines}{', '.join(map(str, kind['lines']))}{more}")
    if report["remark"]:
        click.echo(f"  {report['remark']}")
    if report["written_rows"]:
        click.echo(f"  {counted(report['written_rows'], 'refused row')} in {refused}, each with its reason")
    if whose:
        click.echo(f"  {whose}")


def _column(told: dict[str, Any], otherwise: str = "") -> str:
    return f" column {told['column']}" if told["column"] else otherwise
