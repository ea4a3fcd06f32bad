"""Texts without secrets, and without what is said of members.

Secrets go wherever they stand: keys as PEM, tokens, passwords in addresses, whatever follows a word such as password or
token, seeds and access keys by their form. `Scrubber` takes out of sentences what the product's own code does not have
in it: names, ids, values of rows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from typing import Any

GONE = "[…]"

_SECRETS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"-----BEGIN [A-Z0-9 ]*KEY-----.*?(?:-----END [A-Z0-9 ]*KEY-----|\Z)", re.DOTALL), GONE),
    # What stands before the @ of an address, with a password in it or not.
    (re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/@'\"]+@", re.IGNORECASE), rf"\1{GONE}@"),
    # Three parts of base64, of which the first begins an object of JSON.
    (re.compile(r"\bey[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"), GONE),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}", re.IGNORECASE), rf"\1 {GONE}"),
    # "password": "…", password=…, api-key: …; not the files that have them, whose names say where to look.
    (
        re.compile(
            r"((?:pass(?:word|wd|phrase)?|pwd|secret|token|api[-_]?key|access[-_]?key|credentials?|authorization|seed)"
            r"(?:[-_](?:key|id|value))?[\"']?\s*[=:]\s*)(\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&}\]]+)",
            re.IGNORECASE,
        ),
        rf"\1{GONE}",
    ),
    (re.compile(r"\bS[UAONCX][A-Z2-7]{50,}\b"), GONE),  # seeds of NATS
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), GONE),
)
_QUOTED = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|“[^”\n]*”")
_MEMBERS = re.compile(r"\b(members?|sponsors?|distributors?|ids?)(\s+)([\w.-]*\d[\w.-]*)", re.IGNORECASE)
_PIECE = re.compile(r"[^\W_](?:[\w.:@/+-]*[\w/])?")
_ADDRESS = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5})?|localhost(?::\d{1,5})?")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:ms|s|kB|MB|GB)?")
_CLOCK = r"\d{2}:\d{2}:\d{2}(?:[.,]\d+)?Z?"
_TIME = re.compile(rf"(?:19|20)\d{{2}}-[01]\d(?:-[0-3]\d(?:T{_CLOCK})?)?|{_CLOCK}")
_HEX_ID = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")


def without_secrets(text: str) -> str:
    """The same text; `GONE` in the place of each secret."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class Scrubber:
    """Takes out what is not ours.

    Args:
        words: Those that may stay: of our code and of the system's errors.
        names: Of the cluster's parts, such as n1, and their hosts.
    """

    def __init__(self, words: Collection[str], names: Collection[str]) -> None:
        self._words = words
        self._names = frozenset(names)

    def sentence(self, text: str) -> str:
        """A sentence or a line of a log."""
        text = _QUOTED.sub(f'"{GONE}"', without_secrets(text))
        text = _MEMBERS.sub(rf"\1\2{GONE}", text)
        return _PIECE.sub(lambda found: found[0] if self._is_ours(found[0]) else GONE, text)

    def _is_ours(self, piece: str) -> bool:
        if piece in self._names or any(pattern.fullmatch(piece) for pattern in (_ADDRESS, _NUMBER, _TIME, _HEX_ID)):
            return True
        parts = [part for part in re.split(r"[\W_]+", piece) if part]
        return not all(part.isdigit() for part in parts) and all(
            part in self._words or part.isdigit() for part in parts
        )

    def value(self, value: Any, key: str = "") -> Any:
        """A value of JSON, with all in it. A file's name may be a person's."""
        if isinstance(value, dict):
            return {name: self.value(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner, key) for inner in value]
        if not isinstance(value, str):
            return value
        if key in ("file_name", "uploaded_as"):
            return GONE + os.path.splitext(value)[1] if value else value
        return self.sentence(value) if " " in value else without_secrets(value)
