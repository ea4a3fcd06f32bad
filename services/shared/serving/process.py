"""The command line of a service: `python -m services.NAME --config FILE --set section.field=value`."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import click

from services.shared.config.load import SettingsError, parse_overrides


class StartupError(Exception):
    """Why the service can't start: one line that names the mend."""


def service_command(name: str, start: Callable[[Path | None, dict[str, str]], None]) -> click.Command:
    """The click command of a service.

    Args:
        name: The service's name.
        start: Gets the settings file and the overrides; runs until the service ends. A SettingsError, StartupError or
            OSError of it is told in one line, with exit code 1.
    """

    @click.command(name=name)
    @click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML).")
    @click.option(
        "--set", "assignments", multiple=True, metavar="SECTION.FIELD=VALUE", help="One setting; may be repeated."
    )
    @click.option("--log-level", default="INFO", show_default=True, envvar="FASTTREE_LOG_LEVEL")
    def command(config: Path | None, assignments: tuple[str, ...], log_level: str) -> None:
        configure_logging(name, log_level)
        try:
            start(config, parse_overrides(assignments))
        except (SettingsError, StartupError, OSError) as error:
            click.echo(f"error: {name}: {error}", err=True)
            sys.exit(1)

    return command


def configure_logging(name: str, level: str) -> None:
    """Lines on standard error: time, level, service, module, text.

    Raises:
        SettingsError: No such level.
    """
    if level.upper() not in logging.getLevelNamesMapping():
        raise click.BadParameter(f"{level!r} is no log level: use DEBUG, INFO, WARNING or ERROR")
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format=f"%(asctime)s %(levelname)s {name} %(name)s: %(message)s",
        force=True,
    )


def lock_folder(folder: Path) -> IO[str]:
    """Makes a state folder this process's own until it ends; keep the returned file open.

    Raises:
        StartupError: Another process has it, or it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise StartupError(f"can't use the state folder {folder}: {error}; set another one") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        raise StartupError(
            f"the state folder {folder} is in use by process {holder}; end it or set another folder"
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def settle_memory() -> None:
    """To be called once a service is warm: what is there now stays, and garbage is looked for seldom, among what came
    since. Nothing here makes circles to speak of, and a search through everything would stop the service meanwhile.
    """
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    gc.enable()
