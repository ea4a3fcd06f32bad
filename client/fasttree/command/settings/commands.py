"""`fasttree config`: settings in force, and every fault of theirs before a service meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import click

from fasttree.client.counts import counted
from fasttree.command.output import print_json
from fasttree.command.session import DEFAULT_PLACES, CommandError, Session, json_option
from fasttree.command.shapes import Later, prints

Command = TypeVar("Command", bound=Callable[..., Any])


class SettingsCheckedJson(TypedDict):
    """What is wrong with settings, or else to be known, a sentence each; `file` is empty where there is none."""

    file: str
    faults: list[str]
    notes: list[str]


def _settings() -> Any:
    from fasttree.command.settings.reading import Setting

    return list[Setting]


@click.group()
def config() -> None:
    """Settings as the services read them: from a file, the environment and --set, the last one winning.

    Of this machine alone: no service is asked. For another machine, run this there; or bring its file here, and give
    `check` --elsewhere.
    """


_NO_FILE = "no settings file here (--config names one; another machine's settings: run this there)"
#: What a good file leaves open.
_NOT_ASKED = "no server that it names was asked, and no port tried"


def _settings_options(command: Command) -> Command:
    options = [
        click.option(
            "--config",
            "file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Settings file of the services (TOML); where not given, that of `fasttree up` here, if any.",
        ),
        click.option(
            "--set", "assignments", multiple=True, metavar="SECTION.FIELD=VALUE", help="As the services are given it."
        ),
        json_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _file(named: Path | None) -> Path | None:
    if named is not None:
        return named
    return next((path for place in DEFAULT_PLACES if (path := place.parent / "cluster.toml").exists()), None)


@config.command()
@prints(Later(_settings))
@click.argument("section", required=False, default="")
@_settings_options
def show(session: Session, section: str, file: Path | None, assignments: tuple[str, ...]) -> None:
    """Every setting in force on this machine, as TOML; SECTION: its own alone. What is no default says where it comes
    from. No service is asked: another machine's are shown by this command there.

    The environment is that of this command: a service may have another one.
    """
    from fasttree.command.settings.reading import SECTION_CLASSES, settings_in_force

    if section and section not in SECTION_CLASSES:
        raise click.UsageError(f"no section {section}; there are {', '.join(SECTION_CLASSES)}")
    found = _file(file)
    settings = [each for each in settings_in_force(found, assignments) if section in ("", each.section)]
    if found is None:
        click.echo(f"note: {_NO_FILE}: the environment and defaults alone", err=True)
    if session.json:
        print_json([each._asdict() for each in settings])
        return
    for name, group in groupby(settings, key=lambda each: each.section):
        click.echo(f"[{name}]")
        for each in group:
            place = f"  # {each.place}" if each.place else ""
            click.echo(f"{each.field} = {json.dumps(each.value, ensure_ascii=False)}{place}")
        click.echo()


@config.command()
@prints(SettingsCheckedJson)
@click.option(
    "--elsewhere", is_flag=True, help="The file is for another machine: what its paths lead to is not looked at."
)
@_settings_options
def check(session: Session, file: Path | None, assignments: tuple[str, ...], elsewhere: bool) -> None:
    """Looks for all that would keep a service from starting: in the settings file, the host file and the other files
    and folders that it names (on this machine, as this user), the environment of this command, and --set. A line for
    each fault; exit code 1 where there is one. It connects to nothing: whether a server is there that the settings
    name, or whether a port is free, the services find out.
    """
    from fasttree.command.settings.reading import faults_of, notes_of

    found = _file(file)
    faults = faults_of(found, assignments, elsewhere=elsewhere)
    notes = [] if faults else notes_of(found, assignments)
    where = str(found or f"{_NO_FILE}, so the environment and defaults alone")
    if session.json:
        print_json(SettingsCheckedJson(file=str(found or ""), faults=faults, notes=notes))
    else:
        for line in [*faults, *notes]:
            click.echo(line)
    if faults:
        raise CommandError(f"{where}: {counted(len(faults), 'fault')}")
    if not session.json:
        click.echo(f"{where}: good; {_NOT_ASKED}")
