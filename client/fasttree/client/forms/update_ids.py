"""Ids of updates that a person asks for."""

from __future__ import annotations

import secrets


def new_id(what: str) -> str:
    """One for each time that it is asked for: another closing of a month is another change."""
    printable = "".join(each if each.isascii() and each.isprintable() and each != " " else "_" for each in what)
    return f"{printable[:50]}-{secrets.token_hex(4)}"
