"""The key of operators: a text of chance in a file, made where there is none."""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from services.shared.config.load import SettingsError
from services.shared.config.text_file import read_text_file
from services.shared.files.durable import make_folder, write_durably

_LENGTH_MIN = 16
_BYTES_MAX = 1_024


class OperatorKey:
    """What a browser has to show.

    Raises:
        SettingsError: The file holds none.
        OSError: It can't be made, or read.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            make_folder(path.parent)
            write_durably(path, secrets.token_urlsafe(32).encode() + b"\n")
        self._key = read_text_file(path, _BYTES_MAX).strip().encode()
        if len(self._key) < _LENGTH_MIN:
            raise SettingsError(f"console.key_file: {path} holds less than {_LENGTH_MIN} characters: remove it")

    def is_shown(self, text: str) -> bool:
        """Whether that is it; takes as long for every text."""
        return hmac.compare_digest(text.encode(errors="replace"), self._key)
