"""What options, or a profile in a file, say of the form of a company's own CSV file. Whether it can be is for the
services to say: they know what columns, days and numbers are.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from fasttree.client import InvalidArgumentError
from fasttree.client.files import check_replaceable, open_regular
from fasttree.command.session import CommandError, Session
from fasttree.v1 import pusher_pb2
from services.shared.files.durable import write_durably

Command = TypeVar("Command", bound=Callable[..., Any])

_TEXTS = ("separator", "date_format", "decimal")
_BYTES_MAX = 64 << 10
_SEPARATOR_OF_IMPORTS = ","
#: Of a profile that is kept beside the pusher; whatever else is given is a file.
_KEPT_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


def mapping_options(command: Command) -> Command:
    """Adds the options; the command gets their values as keyword arguments of `own_form`."""
    options = [
        click.option(
            "--map",
            "maps",
            multiple=True,
            metavar="NAME=HEADER",
            help="FastTree's name of a column, and the file's: --map member_id=DISTRIBUTOR_ID.",
        ),
        click.option("--separator", default="", metavar="; | tab", help="What separates columns, where no comma does."),
        click.option("--date-format", default="", metavar="MM/DD/YYYY", help="How days are written."),
        click.option("--decimal", default="", metavar="1,234.50", help="How the number 1234.50 is written."),
        click.option(
            "--profile",
            "profile",
            type=click.Path(),
            metavar="NAME|FILE.toml",
            help="One that is kept beside the pusher, or a file, that says all of this; what is given beside it goes "
            "before it.",
        ),
        click.option(
            "--save-profile",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE.toml",
            help="Keep what is said of the form in a file.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


async def own_form(
    session: Session, maps: tuple[str, ...], separator: str, date_format: str, decimal: str, profile: str | None
) -> dict[str, Any]:
    """The fields of the profile that somebody gave. Raises UsageError, or CommandError for the profile."""
    given = await _profile(session, profile) if profile is not None else {}
    columns: dict[str, str] = dict(given.get("columns", {}))
    for each in maps:
        name, equals, header = each.partition("=")
        if not equals or not name.strip() or not header.strip():
            raise click.UsageError(f"--map {each[:80]!r}: write NAME=HEADER, such as member_id=DISTRIBUTOR_ID.")
        columns[name.strip()] = header.strip()
    texts = {"separator": separator, "date_format": date_format, "decimal": decimal}
    given |= {name: text for name, text in texts.items() if text}
    return given | ({"columns": columns} if columns else {})


async def _profile(session: Session, named: str) -> dict[str, Any]:
    if not _KEPT_NAME.fullmatch(named):
        return _read(Path(named))
    try:
        async with session.client() as client:
            kept = await client.get_import_profile(named)
    except InvalidArgumentError as error:
        raise CommandError(
            f"--profile {named}: {error.message.removeprefix('profile: ')}; a file of this machine is named with its "
            f".toml, or as ./{named}"
        ) from None
    texts = {name: getattr(kept, name) for name in _TEXTS}
    given: dict[str, Any] = {name: text for name, text in texts.items() if text not in ("", _SEPARATOR_OF_IMPORTS)}
    return given | ({"columns": dict(kept.columns)} if kept.columns else {})


def _read(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path) as file:
            content = file.read(_BYTES_MAX + 1)
        if len(content) > _BYTES_MAX:
            raise CommandError(f"--profile {path}: more than {_BYTES_MAX:,} bytes: a profile is a few lines")
        found = tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise CommandError(f"--profile {path}: {error.strerror or error}") from None
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"--profile {path}: it is no TOML: {error}") from None
    except UnicodeDecodeError:
        raise CommandError(f"--profile {path}: it is not UTF-8: save it as UTF-8") from None
    except (ValueError, RecursionError):
        raise CommandError(f"--profile {path}: a value in it is none that can be read") from None
    for name, value in found.items():
        columns = (
            name == "columns" and isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
        )
        if not columns and not (name in _TEXTS and isinstance(value, str)):
            raise CommandError(
                f"--profile {path}: {name[:80]}: a profile has the texts {', '.join(_TEXTS)}, and a table [columns] of "
                'lines such as member_id = "DISTRIBUTOR_ID"'
            )
    return found


def write_profile(path: Path, form: Mapping[str, Any]) -> None:
    """Writes a file that `--profile` reads. Raises CommandError."""
    lines = [f"{name} = {_quoted(form[name])}" for name in _TEXTS if name in form]
    if columns := form.get("columns"):
        lines += ["", "[columns]", *(f"{_quoted(name)} = {_quoted(header)}" for name, header in columns.items())]
    try:
        check_replaceable(path)
        write_durably(path, ("\n".join(lines).lstrip() + "\n").encode())
    except OSError as error:
        raise CommandError(f"--save-profile {path}: {error.strerror or error}") from None


def _quoted(text: str) -> str:
    """A TOML string."""
    escaped = "".join(
        f"\\u{ord(each):04x}" if each in '\\"' or ord(each) < 32 or ord(each) == 127 else each for each in text
    )
    return f'"{escaped}"'


def as_message(form: Mapping[str, Any]) -> pusher_pb2.ImportProfile | None:
    """For the upload; None where nothing is said."""
    return pusher_pb2.ImportProfile(**form) if form else None


def as_options(form: Mapping[str, Any]) -> list[str]:
    """What to type for it."""
    options = [f"--map {shlex.quote(f'{name}={header}')}" for name, header in form.get("columns", {}).items()]
    return options + [f"--{name.replace('_', '-')} {shlex.quote(form[name])}" for name in _TEXTS if form.get(name)]
