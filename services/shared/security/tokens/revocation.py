"""Tokens that are refused before their time: a line each with `jti ID` or `sub SUBJECT`; `#` begins a comment."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from services.shared.config.text_file import read_text_file
from services.shared.security.settings import TlsError

_BYTES_MAX: Final = 16 << 20


class Revoked(NamedTuple):
    """One state of the list."""

    token_ids: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()


def read_revoked(path: Path) -> Revoked:
    """Of a file. Blocks. Raises TlsError, which names the line and the mend."""
    try:
        text = read_text_file(path, _BYTES_MAX)
    except OSError as error:
        raise TlsError(f"{path}: can't read what is revoked: {error.strerror or error}") from None
    found: dict[str, set[str]] = {"jti": set(), "sub": set()}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        kind, _, value = line.strip().partition(" ")
        if kind not in found or not value.strip():
            raise TlsError(f'{path}:{number}: write "jti ID" or "sub SUBJECT"')
        found[kind].add(value.strip())
    return Revoked(frozenset(found["jti"]), frozenset(found["sub"]))
