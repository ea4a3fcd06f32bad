"""The keys of a sealed log that is read from a disk."""

from __future__ import annotations

import click

from fasttree.command.session import CommandError
from services.shared.files.sealed.errors import SealKeyError
from services.shared.files.sealed.own import begin_sealing
from services.shared.files.sealed.settings import SealingSettings

key_file_option = click.option(
    "--key-file",
    envvar="FASTTREE_SEALING_KEY_FILE",
    default="",
    help="The keys of a sealed log, as sealing.key_file names them; else FASTTREE_SEALING_KEY_FILE.",
)


def use_keys(key_file: str) -> None:
    """What is sealed is opened by them from now on. Raises CommandError."""
    try:
        begin_sealing(SealingSettings(key_file=key_file))
    except SealKeyError as error:
        raise CommandError(str(error)) from None
