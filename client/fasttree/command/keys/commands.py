"""`fasttree keys`: the commands."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TypedDict

import click

from fasttree.command.output import print_json, print_table
from fasttree.command.session import CommandError, Session, home_options, json_option
from fasttree.command.shapes import prints

_file_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_id_option = click.option("--id", "key_id", default="", help="Of the new key; today's date where not given.")


class KeysJson(TypedDict):
    """The keys of a file, by their ids: the first one seals."""

    file: str
    keys: list[str]


class SealedByJson(TypedDict):
    """What one key has sealed in a folder."""

    folder: str
    key: str
    files: int
    records: int
    #: Of personal columns; their vault is one of the files.
    values: int
    #: Whether the file that was named has the key, and not another one under its id; null where none was named, or
    #: where what is sealed is too damaged to tell its key.
    is_here: bool | None


class ClearJson(TypedDict):
    """What is not sealed in a folder."""

    folder: str
    files: int
    records: int
    #: Of personal columns; their vault is one of the files.
    values: int


class KeysNeededJson(TypedDict):
    """Which keys are needed yet, and how much is clear."""

    sealed: list[SealedByJson]
    clear: list[ClearJson]


@click.group()
def keys() -> None:
    """Keys by which nodes and pushers seal what they keep on disk (`sealing.key_file`).

    `docs/operations.md`, `Sealed state`, has how a key is replaced.
    """


@keys.command()
@prints(KeysJson)
@_file_argument
@_id_option
@json_option
def init(session: Session, file: Path, key_id: str) -> None:
    """Makes FILE with one new key, for its owner alone. Keep a copy elsewhere: without it, what is sealed is lost."""
    from fasttree.command.keys.reading import make

    key_id = key_id or _today()
    make(file, key_id)
    if session.json:
        print_json(KeysJson(file=str(file), keys=[key_id]))
    else:
        click.echo(f"{file} has the new key {key_id}: name it in sealing.key_file, and keep a copy elsewhere")


@keys.command()
@prints(KeysJson)
@_file_argument
@_id_option
@json_option
def rotate(session: Session, file: Path, key_id: str) -> None:
    """Puts a new key into the first place of FILE: running parts seal by it from then on, and open by all."""
    from fasttree.command.keys.reading import put_first

    found = put_first(file, key_id or _today())
    if session.json:
        print_json(KeysJson(file=str(file), keys=found.ids))
    else:
        old = ", ".join(found.ids[1:])
        first = found.first.key_id
        click.echo(f"{file}: key {first} seals from now on; keep {old} until `fasttree keys show` has no line of it")


@keys.command()
@prints(KeysNeededJson)
@click.option(
    "--dir",
    "folders",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    help="State folder of a node or pusher, or one with several, as `fasttree up` has it; may be repeated. Those "
    "of the cluster of `fasttree up` that is named or here, else.",
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of keys: whether it has each of them. Exit code 1 where it lacks one.",
)
@home_options
def show(session: Session, folders: tuple[Path, ...], key_file: Path | None) -> None:
    """Which keys are needed yet, and how much is clear, in state folders of this machine."""
    from fasttree.command.keys.reading import found_in, keys_in

    known = keys_in(key_file) if key_file is not None else None
    found = found_in(folders, session.homes(), known)
    rows: list[SealedByJson] = [
        {
            "folder": str(each.folder),
            "key": key_id,
            "files": each.files[key_id],
            "records": each.records[key_id],
            "values": each.values.get(key_id, 0),
            "is_here": each.has(key_id) if known is not None else None,
        }
        for each in found
        for key_id in sorted({*each.files, *each.records})
    ]
    clear: list[ClearJson] = [
        {
            "folder": str(each.folder),
            "files": each.clear_files,
            "records": each.clear_records,
            "values": each.clear_values,
        }
        for each in found
        if each.clear_files or each.clear_records
    ]
    if session.json:
        print_json(KeysNeededJson(sealed=rows, clear=clear))
    else:
        told = [[row["folder"], row["key"], row["files"], row["records"], row["values"]] for row in rows]
        told += [[each["folder"], "(clear)", each["files"], each["records"], each["values"]] for each in clear]
        heads = ["folder", "key", "files", "log records", "personal values"]
        print_table(heads, [[str(cell) for cell in row] for row in told])
    unopened = sorted({row["key"] for row in rows if row["is_here"] is False})
    lacking = [key_id for key_id in unopened if known is not None and known.get(key_id) is None]
    if lacking:
        raise CommandError(
            f"{key_file} lacks key {', '.join(lacking)}, by which something is sealed: bring it back there"
        )
    if unopened:
        raise CommandError(
            f"{key_file} has another key {', '.join(unopened)} than the one by which something is sealed: bring that "
            "one back there"
        )


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
