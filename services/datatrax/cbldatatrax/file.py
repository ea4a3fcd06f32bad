"""The file itself, from the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.datatrax.cbldatatrax.configuration import Configuration, configuration_of
from services.shared.config.load import SettingsError
from services.shared.config.text_file import read_text_file

#: A file of thousands of sections has no more.
BYTES_MAX: Final = 1 << 20


def read_configuration(path: Path) -> Configuration:
    """Reads a file. Blocks: it reads the disk.

    Raises:
        SettingsError: It can't be read at all.
    """
    try:
        return configuration_of(read_text_file(path, BYTES_MAX, or_latin_1=True))
    except OSError as error:
        raise SettingsError(f"{path}: can't read it: {error}") from error
