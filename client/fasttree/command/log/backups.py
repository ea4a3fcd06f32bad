"""`fasttree log backup` and `fasttree log restore`: on the pusher's machine, by its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NotRequired, TypedDict

import click

from fasttree.client.counts import counted
from fasttree.command.log.sealed import key_file_option, use_keys
from fasttree.command.output import Progress, print_json
from fasttree.command.session import CommandError, Session, json_option
from fasttree.command.shapes import prints
from services.pusher.backups.backups import BackupError, Copied, back_up, restore
from services.pusher.log.store import LogStoreError
from services.shared.files.sealed.errors import SealKeyError

_folder = click.option(
    "--folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The pusher's state folder.",
)


class CopiedJson(TypedDict):
    """What a backup holds."""

    log_id: str
    first_position: int
    last_position: int
    imports: list[str]
    size_bytes: int
    backup: NotRequired[str]
    #: Of one that was brought back: where the log went that lay there.
    moved_to: NotRequired[str]


@click.command("backup")
@prints(CopiedJson)
@click.argument("target", type=click.Path(path_type=Path, file_okay=False))
@_folder
@key_file_option
@json_option
def backup_command(session: Session, target: Path, folder: Path, key_file: str) -> None:
    """Copies the log and the import files that it needs into the folder TARGET, which must be empty.

    As of one moment, while the pusher runs and takes pushes; every record of the copy is read and checked.
    """
    copied = _run(session, key_file, lambda progress: back_up(folder, target, progress))
    if session.json:
        content = _json(copied)
        content["backup"] = str(target)
        print_json(content)
    else:
        click.echo(f"{_text(copied)}: backed up to {target}")


@click.command("restore")
@prints(CopiedJson)
@click.argument("backup", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_folder
@key_file_option
@json_option
def restore_command(session: Session, backup: Path, folder: Path, key_file: str) -> None:
    """Puts the log of a backup in the place of the pusher's, which must be down. What lies there is kept beside it.

    The pusher hears from the nodes before it takes pushes. Where they have more than the backup, it says so and takes
    none: `fasttree log adopt` is the word to go on without that.
    """
    copied = _run(session, key_file, lambda progress: restore(backup, folder, progress))
    moved_to = str(copied.moved_to) if copied.moved_to is not None else ""
    if session.json:
        content = _json(copied)
        content["moved_to"] = moved_to
        print_json(content)
        return
    click.echo(f"{_text(copied)}: brought back to {folder}")
    if moved_to:
        click.echo(f"what was there is in {moved_to}")
    click.echo("start the pusher, then look at `fasttree status`: it says whether nodes have more than this log")


def _run(session: Session, key_file: str, work: Callable[[Callable[[str, int, int], None]], Copied]) -> Copied:
    use_keys(key_file)
    progress = Progress(quiet=session.json)
    try:
        return work(progress.percent)
    except (BackupError, LogStoreError, SealKeyError) as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        raise CommandError(f"{place}{error.strerror or error}: see to rights and room there, or name another") from None
    finally:
        progress.clear()


def _json(copied: Copied) -> CopiedJson:
    return {
        "log_id": copied.log.log_id,
        "first_position": copied.log.first_position,
        "last_position": copied.log.last_position,
        "imports": list(copied.imports),
        "size_bytes": copied.size_bytes,
    }


def _text(copied: Copied) -> str:
    log = copied.log
    files = counted(len(copied.imports), "import file")
    return f"log {log.log_id}, positions {log.first_position} to {log.last_position}, {files}"
