"""`fasttree log`: read the log as text, check it, skip an update of it, say which one it is."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import click
from click.core import ParameterSource

from fasttree.client import update_to_json
from fasttree.client.counts import counted
from fasttree.command.log.backups import backup_command, restore_command
from fasttree.command.log.copying import copy_command
from fasttree.command.log.schema import schema_command
from fasttree.command.log.sealed import key_file_option, use_keys
from fasttree.command.output import Progress, print_json, print_json_line
from fasttree.command.ranges import POSITION
from fasttree.command.session import ASKING_OPTIONS, CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.v1 import pusher_pb2, treenode_pb2, types_pb2
from services.pusher.log.inspection import dump_log, verify_log
from services.pusher.log.store import LogStoreError
from services.shared.domain.updates import OWN_ID_PREFIX
from services.shared.wire.record import RecordDamagedError

_from_option = click.option("--from", "first", type=POSITION, help="First position; the log's first.")
_folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True),
    help="The pusher's state folder, read from its disk: works while the pusher is down, too.",
)
_to_option = click.option("--to", "last", type=POSITION, help="Last position; the log's last now.")


class RecordJson(TypedDict):
    """An update where it stands in the log, in the form that `fasttree push` takes."""

    position: int
    update: dict[str, Any]


class LogVerifiedJson(TypedDict):
    """What was read and checked."""

    first_position: int
    last_position: int
    records: int
    sound: bool
    problems: NotRequired[list[str]]
    #: Of a folder whose log was moved: where it goes on. It was judged up to where it was moved.
    moved_to: NotRequired[str]


class SkippedJson(TypedDict):
    """An update that counts no more, and the record that says so."""

    skipped_position: int
    skipped_update_id: str
    position: int
    reason: str


class AdoptedJson(TypedDict):
    """The log that goes on, and those in whose place."""

    log_id: str
    replaced_log_ids: list[str]


@click.group()
def log() -> None:
    """The pusher's log: dump, verify, back up, bring back; skip an update, adopt a log that is not the nodes'."""


log.add_command(backup_command)
log.add_command(restore_command)
log.add_command(schema_command)
log.add_command(copy_command)


@log.command()
@prints(lines=RecordJson)
@_from_option
@_to_option
@_folder_option
@key_file_option
@click.option("--for-push", is_flag=True, help="Without the pusher's own records, which nobody may push.")
@common_options
def dump(
    session: Session, first: int | None, last: int | None, folder: Path | None, key_file: str, for_push: bool
) -> None:
    """Updates as JSON lines that `fasttree push` takes; --json adds their positions."""

    def show(position: int, update: types_pb2.Update) -> None:
        if for_push and update.update_id.startswith(OWN_ID_PREFIX):
            return
        text = update_to_json(update)
        if session.json:
            print_json_line(RecordJson(position=position, update=json.loads(text)))
        else:
            click.echo(text)

    if folder is not None:
        _reads_disk(session, key_file)
        shown = 0
        with _told():
            for position, update in dump_log(folder, first or 0, last or 0):
                show(position, update)
                shown += 1
        if (first or last) and not shown:
            raise _none_there(folder, first, last)
        return
    _asks()

    async def body() -> None:
        async with session.client() as client:
            end = (await client.get_pusher()).log_end
            stop = min(last or end.position, end.position)
            start = max(first or end.first_position, 1)
            _check_some(start, stop, end.first_position, end.position)
            if start > stop:
                return
            async for record in client.read_log(start, stop):
                show(record.position, types_pb2.Update.FromString(record.update))

    run(body())


@log.command()
@prints(LogVerifiedJson)
@_from_option
@_to_option
@_folder_option
@key_file_option
@common_options
def verify(session: Session, first: int | None, last: int | None, folder: Path | None, key_file: str) -> None:
    """Reads every record and checks position, checksum and content.

    Through the pusher, the newest records come from its memory; with --folder, all of them from its disk.
    """
    if folder is not None:
        _reads_disk(session, key_file)
        _verify_folder(session, folder, first or 0, last or 0)
        return
    _asks()

    async def body() -> tuple[int, int, str]:
        progress = Progress(quiet=session.json)
        async with session.client() as client:
            pusher = await client.get_pusher()
            end = pusher.log_end
            stop = min(last or end.position, end.position)
            start = max(first or end.first_position, 1)
            position = start - 1
            _check_some(start, stop, end.first_position, end.position)
            if start <= stop:
                async for record in client.read_log(start, stop):
                    check_record(record, position + 1)
                    position = record.position
                    if position % 1_000 == 0:
                        progress.percent("verifying", position - start + 1, stop - start + 1, "records")
            progress.clear()
            if position < stop:
                raise CommandError(
                    f"the log ends at {position}, not at {stop}: its end is missing; see docs/operations.md"
                )
            return start, position, pusher.closed_reason

    start, position, closed = run(body())
    if session.json:
        records = position - start + 1
        print_json(LogVerifiedJson(first_position=start, last_position=position, records=records, sound=True))
    else:
        where = "as the pusher sends them, the newest from its memory; --folder DIR reads its disk"
        click.echo(f"{counted(position - start + 1, 'record')}, positions {start} to {position}: sound, {where}")
    if closed:  # it may be another one than the nodes have
        raise CommandError(f"no pushes are taken: {closed}")


@log.command()
@prints(SkippedJson)
@click.argument("position", type=POSITION)
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept in the log, and listed with the update.")
@click.option("--force", is_flag=True, help="Although a node has taken it: that node joins anew.")
@common_options
def skip(session: Session, position: int, reason: str, force: bool) -> None:
    """Has every node reject the update at POSITION, before which nodes have halted.

    The decision is a record of the log; nodes go on at once. `fasttree status` names the position.
    """

    async def body() -> pusher_pb2.SkipUpdateResponse:
        async with session.client() as client:
            return await client.skip_update(position, reason, force=force)

    answer = run(body())
    figures: SkippedJson = {
        "skipped_position": position,
        "skipped_update_id": answer.skipped_update_id,
        "position": answer.position,
        "reason": reason,
    }
    if session.json:
        print_json(figures)
    else:
        click.echo(f"update {position} ({answer.skipped_update_id}) is skipped, by record {answer.position}")


@log.command()
@prints(AdoptedJson)
@click.option("--reason", required=True, help="Why, for the nodes' logs and whoever asks later.")
@common_options
def adopt(session: Session, reason: str) -> None:
    """Goes on with the pusher's log although nodes have another past: what it lacks is given up.

    The nodes go over to it. Each serves the tree that it has until it has an import of this log.
    """

    async def body() -> pusher_pb2.AdoptLogResponse:
        async with session.client() as client:
            return await client.adopt_log(reason)

    answer = run(body())
    replaced = list(answer.replaced_log_ids)
    if session.json:
        print_json(AdoptedJson(log_id=answer.log_id, replaced_log_ids=replaced))
    else:
        click.echo(f"log {answer.log_id} stands in the place of {', '.join(replaced)}; import a file now, if none is")


def _reads_disk(session: Session, key_file: str) -> None:
    session.refuse(*ASKING_OPTIONS, why="--folder reads a disk, and asks nobody")
    use_keys(key_file)


def _asks() -> None:
    if click.get_current_context().get_parameter_source("key_file") is ParameterSource.COMMANDLINE:
        raise click.UsageError(
            "the pusher has keys of its own, and what is asked of it comes opened: leave out --key-file."
        )


def _check_some(start: int, stop: int, first: int, last: int) -> None:
    """Raises CommandError where there is a log, and nothing of it was asked for."""
    if start > stop and last >= first:
        raise CommandError(f"no record from {start} to {stop}: the log has {first} to {last}")


def _none_there(folder: Path, first: int | None, last: int | None) -> CommandError:
    return CommandError(f"no record from {first or 1} to {last or 'the end'}: the log in {folder} has none of them")


def _verify_folder(session: Session, folder: Path, first: int, last: int) -> None:
    """Checks the log in a folder, or some of its records; every damaged one is told."""
    with _told():
        found = verify_log(folder, first, last)
    if (first or last) and found.first_position > found.last_position:
        raise _none_there(folder, first, last)
    figures: LogVerifiedJson = {
        "first_position": found.first_position,
        "last_position": found.last_position,
        "records": found.records,
        "sound": not found.problems,
    }
    if found.moved_to:
        figures["moved_to"] = found.moved_to
    if session.json:
        if found.problems:
            figures["problems"] = list(found.problems)
        print_json(figures)
    else:
        for problem in found.problems:
            click.echo(problem)
    if found.problems:
        raise CommandError(
            f"{counted(len(found.problems), 'fault')} in the log of {folder}, "
            f"{counted(found.records, 'record is', 'records are')} sound; "
            "see docs/operations.md, `A damaged log`"
        )
    if not session.json:
        some = "; the index of ids is looked at without --from and --to" if first or last else ""
        positions = f"positions {found.first_position} to {found.last_position}"
        click.echo(f"{counted(found.records, 'record')}, {positions}: sound{some}")
        if found.moved_to:
            click.echo(f"this log was moved to {found.moved_to}, and is judged up to where it was moved: go on there")


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What is wrong with a log's files, as the command's own error."""
    try:
        yield
    except (LogStoreError, RecordDamagedError, OSError) as error:
        raise CommandError(str(error)) from None


def check_record(record: treenode_pb2.LogRecord, expected: int) -> None:
    """Raises CommandError for a gap, a wrong checksum, or an update that can't be read."""
    mend = "do not push to this log before you have read docs/operations.md, `A damaged log`"
    if record.position != expected:
        raise CommandError(f"position {record.position} stands where {expected} should: a record is missing; {mend}")
    if zlib.crc32(record.position.to_bytes(8, "little") + record.update) != record.crc32:
        raise CommandError(f"position {record.position}: the checksum is wrong; {mend}")
    try:
        update = types_pb2.Update.FromString(record.update)
    except Exception as error:
        raise CommandError(f"position {record.position}: can't be read ({error}); {mend}") from None
    if not update.update_id:
        raise CommandError(f"position {record.position}: has no update_id; {mend}")
