"""The real rules as the toy tree has them: months and columns are numbers there, whose texts stand here."""

from __future__ import annotations

import functools
import hashlib

from fasttree.v1 import types_pb2
from services.shared.domain.updates import change_problem
from services.shared.rules import Refused, Rules, changed, founding, rules_message, rules_of

#: What every log begins with, and what holds before its first record.
FIRST = rules_of(["PV"], ["2026-01"])
FOUNDING = founding(FIRST)


@functools.cache
def month_text(month: int) -> str:
    """A commission period; none for 0."""
    return f"{2026 + (month - 1) // 12}-{(month - 1) % 12 + 1:02d}" if month else ""


@functools.cache
def month_of(text: str) -> int:
    """The month of that text."""
    return 12 * (int(text[:4]) - 2026) + int(text[5:])


def column_text(column: int) -> str:
    """A declared column."""
    return f"c{column}"


@functools.lru_cache(4096)
def rules_hash(rules: Rules) -> int:
    """The rules' share of a digest, whatever Python's hashes are."""
    body = rules_message(rules).SerializeToString(deterministic=True)
    return int.from_bytes(hashlib.blake2b(body, digest_size=8).digest())


@functools.lru_cache(4096)
def after_rule(rules: Rules, content: bytes) -> Rules | None:
    """The rules after a change of them; None where it is refused."""
    update = types_pb2.Update.FromString(content)
    kind = update.WhichOneof("change")
    assert kind is not None
    change = getattr(update, kind)
    assert change_problem(kind, change) is None
    after = changed(rules, kind, change)
    return None if isinstance(after, Refused) else after
