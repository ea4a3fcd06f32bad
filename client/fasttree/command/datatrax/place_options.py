"""The options that say where a job works: what `job_place` takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from fasttree.command.ranges import PORT

Command = TypeVar("Command", bound=Callable[..., Any])
_FOLDER = Path("/datatrax/fasttree")


def place_options(command: Command) -> Command:
    """Adds what says where a job works: what `job_place` takes."""
    options = [
        click.option(
            "--datatrax",
            "folder",
            metavar="DIR",
            type=click.Path(path_type=Path, file_okay=False),
            default=_FOLDER,
            envvar="FASTTREE_DATATRAX",
            show_default=True,
            help="The folder of DataTrax's host files and spools; or FASTTREE_DATATRAX.",
        ),
        click.option("--datatrax-port", "port", type=PORT, help="Whose FTPORT it is; 50201 where nothing says."),
        click.option(
            "--cbldatatrax",
            "file",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="CBLDATATRAX, by whose keys files are sent; the one in DIR where it is there.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command
