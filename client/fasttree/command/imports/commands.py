"""`fasttree import`: upload an import file, watch its rollout, go back to the one before."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import click

from fasttree.client import Client, FailedPreconditionError, UploadOptions
from fasttree.client.counts import counted
from fasttree.client.status.imports import ImportJson, import_json
from fasttree.command.imports.check import CheckedJson, check
from fasttree.command.imports.mapping import as_message, mapping_options, own_form, write_profile
from fasttree.command.output import Progress, print_json
from fasttree.command.ranges import AT_END, parse_position
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.v1 import pusher_pb2, treenode_pb2

_REJECTED_ROWS_SHOWN = 20
_POLL_S = 0.25
_UNDER_WAY = (
    treenode_pb2.IMPORT_PHASE_DOWNLOADING,
    treenode_pb2.IMPORT_PHASE_CHECKING,
    treenode_pb2.IMPORT_PHASE_BUILDING,
    treenode_pb2.IMPORT_PHASE_REPLAYING,
)
_UPDATES_SINCE_EXPORT = "UPDATES_SINCE_EXPORT"

_PHASES = {
    treenode_pb2.IMPORT_PHASE_DOWNLOADING: "downloads",
    treenode_pb2.IMPORT_PHASE_CHECKING: "checks",
    treenode_pb2.IMPORT_PHASE_BUILDING: "builds",
    treenode_pb2.IMPORT_PHASE_REPLAYING: "replays",
    treenode_pb2.IMPORT_PHASE_DONE: "done",
    treenode_pb2.IMPORT_PHASE_REFUSED: "refused",
}


class RejectedRowJson(TypedDict):
    """A row that an import was refused for."""

    line: int
    column: str
    reason: str


class ImportEndedJson(ImportJson):
    """An import, how it ended or where it is, and the first rows that it was refused for."""

    rejected_rows: list[RejectedRowJson]
    rejected_count: int


class _FileOrCommand(click.Group):
    """`fasttree import FILE` beside `fasttree import rollback`; a file of that name is ./rollback."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if args and not {"-h", "--help"} & set(args) and not self._names_command(context, args):
            args.insert(0, "file")
        return super().parse_args(context, args)

    def _names_command(self, context: click.Context, args: list[str]) -> bool:
        """Whether a command is what comes first after the group's own options: a value may be called like one."""
        try:
            _, rest, _ = self.make_parser(context).parse_args(list(args))
        except click.UsageError:  # an option of `file`
            return False
        return bool(rest) and rest[0] in self.commands


@click.group("import", cls=_FileOrCommand, invoke_without_command=False)
@common_options
def import_group(session: Session) -> None:
    """Uploads an import file: fasttree import FILE [--wait].

    The file replaces the whole tree: CSV, packed by gzip, zip or zstd or not, or Parquet. It is checked whole before
    anything changes; the old tree serves until the new one is complete.

    \b
    --wait                 wait until every node serves it; exit code 1 if it is refused
    --as-of-position N     the log position that the export began at; end: the log's end now, and no question
    --force                take it in spite of the reconciliation's thresholds
    --check                upload nothing: say all that is wrong with the file, at once and by kind; exit code 1 if any
    --refused FILE         with --check: write the refused rows there, each with its reason

    \b
    --map NAME=HEADER      a column of the file by FastTree's name: --map member_id=DISTRIBUTOR_ID
    --separator ";"        what separates columns; or | or tab
    --date-format F        how days are written: MM/DD/YYYY, DD.MM.YYYY, ...
    --decimal N            how the number 1234.50 is written: 1,234.50 or 1.234,50, ...
    --profile FILE.toml    a file that says all four; --save-profile FILE.toml writes it
    --profile NAME         one that is kept beside the pusher
    """


@import_group.command("file", hidden=True)
@prints(ImportEndedJson, CheckedJson)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--wait", is_flag=True, help="Wait until every node serves it.")
@click.option(
    "--as-of-position",
    callback=parse_position,
    metavar="N|end",
    help="The log position that the export began at; end: the log's end now.",
)
@click.option("--force", is_flag=True, help="Take it in spite of the reconciliation's thresholds.")
@click.option("--check", "checks", is_flag=True, help="Upload nothing: say all that is wrong with the file.")
@click.option(
    "--refused",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --check: write the refused rows there, each with its reason.",
)
@mapping_options
@common_options
def import_file(
    session: Session,
    file: Path,
    wait: bool,
    as_of_position: int | None,
    force: bool,
    checks: bool,
    refused: Path | None,
    save_profile: Path | None,
    **given: Any,
) -> None:
    """Uploads an import file."""
    if refused is not None and not checks:
        raise click.UsageError("--refused goes with --check: a file that is uploaded is refused whole.")
    if checks and (wait or force or as_of_position is not None):
        raise click.UsageError("--check uploads nothing: leave out --wait, --force and --as-of-position.")

    async def body() -> None:
        form = await own_form(session, **given)
        if save_profile is not None:
            write_profile(save_profile, form)
        if checks:
            await check(session, file, refused, form)
            return
        asks = as_of_position is None and sys.stdin.isatty() and not session.json
        options = UploadOptions(as_of_position=as_of_position, force=force, ask_first=asks, profile=as_message(form))
        await _import(session, file, options, wait)

    run(body())


@import_group.command("rollback")
@prints(ImportEndedJson)
@click.option("--wait", is_flag=True, help="Wait until every node serves it.")
@common_options
def rollback(session: Session, wait: bool) -> None:
    """Goes back to the import before the current one, with every update since its position."""

    async def body() -> None:
        async with session.client() as client:
            manifest = await client.rollback_import()
            Progress(quiet=session.json).line(f"going back to {manifest.file_name}, as import {manifest.import_id}")
            status = pusher_pb2.ImportStatus(manifest=manifest, state=pusher_pb2.IMPORT_STATE_WAITING)
            _tell(session, await _watch(client, session, manifest.import_id) if wait else status)

    run(body())


@import_group.command("list")
@prints(list[ImportJson])
@common_options
def list_imports(session: Session) -> None:
    """The newest imports."""

    async def body() -> pusher_pb2.GetPusherResponse:
        async with session.client() as client:
            return await client.get_pusher()

    imports = run(body()).imports
    if session.json:
        print_json([import_json(status) for status in imports])
        return
    for status in imports:
        click.echo(_summary(status))


async def _import(session: Session, file: Path, options: UploadOptions, wait: bool) -> None:
    progress = Progress(quiet=session.json)

    def tell(sent_bytes: int, size_bytes: int) -> None:
        progress.percent(f"uploading {file.name}", sent_bytes, size_bytes)

    async with session.client() as client:
        if options.as_of_position == AT_END:
            options = replace(options, as_of_position=(await client.get_pusher()).log_end.position)
        try:
            manifest = await client.upload_import(file, options, tell)
        except FailedPreconditionError as error:
            if error.reason != _UPDATES_SINCE_EXPORT:
                raise
            progress.clear()
            click.echo(error.message, err=True)
            if not click.confirm("Does the file hold them?", err=True):
                raise CommandError(f"{file.name} was not imported") from None
            manifest = await client.upload_import(file, replace(options, ask_first=False), tell)
        progress.line(f"uploaded {manifest.file_name} as import {manifest.import_id}")
        if manifest.remark and not options.ask_first:
            click.echo(f"warning: {manifest.remark}", err=True)
        status = pusher_pb2.ImportStatus(manifest=manifest, state=pusher_pb2.IMPORT_STATE_WAITING)
        _tell(session, await _watch(client, session, manifest.import_id) if wait else status)


async def _watch(client: Client, session: Session, import_id: int) -> pusher_pb2.ImportStatus:
    """Shows each node's steps until the rollout is over."""
    progress = Progress(quiet=session.json)
    phases: dict[str, int] = {}
    status = pusher_pb2.ImportStatus()
    try:
        async for status in client.watch_import(import_id):
            for node in status.nodes:
                phase = node.progress.phase
                if phase not in _PHASES:
                    continue
                text = f"{node.node} {_PHASES[phase]}"
                if phases.get(node.node) != phase:
                    phases[node.node] = phase
                    progress.line(text)
                else:
                    rows, percent = node.progress.rows, node.progress.percent
                    progress.percent(text, rows * percent // 100 if rows else percent, rows or 100, "rows", lines=False)
    except asyncio.CancelledError:
        progress.line(f"import {import_id} rolls out all the same; `fasttree status` shows how far it is")
        raise
    progress.clear()
    return (
        await until_all_serve(client, status, session.timeout_s)
        if status.state == pusher_pb2.IMPORT_STATE_DONE
        else status
    )


async def until_all_serve(
    client: Client, status: pusher_pb2.ImportStatus, patience_s: float
) -> pusher_pb2.ImportStatus:
    """Waits for the nodes that are still taking an import that is done: it is done once those serve it that were
    healthy, and who comes back takes it after them. One that is away is not waited for, nor one of which nothing is
    heard for `patience_s`: they are told."""
    import_id, seen, heard_s = status.manifest.import_id, "", time.monotonic()
    while names := {node.node for node in status.nodes if node.progress.phase in _UNDER_WAY}:
        pusher = await client.get_pusher()
        connected = {node.node: node.import_id for node in pusher.nodes if node.connected}
        status = next((each for each in pusher.imports if each.manifest.import_id == import_id), status)
        # Phases may be told late: what a node serves, it says itself.
        late = [node for node in status.nodes if node.node in names and connected.get(node.node, 0) < import_id]
        told, now_s = str(status), time.monotonic()
        if told != seen:
            seen, heard_s = told, now_s
        if not any(node.node in connected for node in late) or now_s - heard_s > patience_s:
            for node in late:
                why = f": {node.progress.reason}" if node.progress.reason else ""
                click.echo(f"warning: {node.node} does not serve import {import_id} yet{why}", err=True)
            break
        await asyncio.sleep(_POLL_S)
    return status


def _tell(session: Session, status: pusher_pb2.ImportStatus) -> None:
    """The outcome; a refusal with its rows, as an error."""
    refusals = [node for node in status.nodes if node.progress.phase == treenode_pb2.IMPORT_PHASE_REFUSED]
    content: ImportEndedJson = {
        **import_json(status),
        "rejected_rows": [
            {"line": row.line, "column": row.column, "reason": row.reason}
            for node in refusals[:1]
            for row in node.progress.rejected_rows
        ],
        "rejected_count": max((node.progress.rejected_count for node in refusals), default=0),
    }
    if session.json:
        print_json(content)
    elif status.state == pusher_pb2.IMPORT_STATE_DONE:
        click.echo(_summary(status))
    if status.state == pusher_pb2.IMPORT_STATE_REFUSED:
        raise CommandError(_refusal(session, status, refusals))
    if status.state == pusher_pb2.IMPORT_STATE_SUPERSEDED:
        raise CommandError(f"import {content['import_id']}: a newer one took its place; `fasttree import list`")
    if not session.json and status.state != pusher_pb2.IMPORT_STATE_DONE:
        click.echo(f"import {content['import_id']} rolls out now; `fasttree status` shows how far it is")


def _refusal(session: Session, status: pusher_pb2.ImportStatus, refusals: list[pusher_pb2.NodeImport]) -> str:
    number = status.manifest.import_id
    if not refusals:
        return f"import {number} was refused; `fasttree import list` may say more"
    progress = refusals[0].progress
    if not session.json:
        for row in progress.rejected_rows[:_REJECTED_ROWS_SHOWN]:
            place = f"line {row.line}" + (f", column {row.column}" if row.column else "") if row.line else "file"
            sys.stderr.write(f"{place}: {row.reason}\n")
        if progress.rejected_count > _REJECTED_ROWS_SHOWN:
            sys.stderr.write(f"… and {progress.rejected_count - _REJECTED_ROWS_SHOWN} more\n")
    return (
        f"import {number} was refused by {refusals[0].node}: {progress.reason.removeprefix('import refused: ')}; "
        "the tree before serves on; mend the file and import it again"
    )


def _summary(status: pusher_pb2.ImportStatus) -> str:
    content = import_json(status)
    rows = max((node["rows"] for node in content["nodes"]), default=0)
    nodes = ", ".join(f"{node['node']} {node['phase']}" for node in content["nodes"]) or "no node yet"
    of_rows = f", {counted(rows, 'row')}" if rows else ""
    return f"import {content['import_id']} {content['file_name']}: {content['state']}{of_rows} ({nodes})"
