"""Which cells of pushed updates are personal, and how tokens take their places."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from fasttree.v1 import types_pb2
from services.shared.domain.updates import update_problem
from services.shared.personal.vault import Cell

_WITH_COLUMNS: Final = ("member_enrolled", "member_changed")


def personal_cells(
    updates: Iterable[types_pb2.Update], personal: Collection[str]
) -> list[tuple[types_pb2.Update, Cell]]:
    """Values of personal columns, each with its update; of updates that are well-formed, since others are not taken."""
    found = []
    for update in updates:
        kind = update.WhichOneof("change")
        if kind not in _WITH_COLUMNS:
            continue
        change = getattr(update, kind)
        named = [name for name in change.columns if name in personal]
        if named and update_problem(update) is None:
            found += [(update, Cell(change.member_id, name, change.columns[name])) for name in sorted(named)]
    return found


def put_tokens(cells: Sequence[tuple[types_pb2.Update, Cell]], tokens: Sequence[str]) -> None:
    """Writes tokens where the values stood."""
    for (update, cell), token in zip(cells, tokens, strict=True):
        getattr(update, update.WhichOneof("change") or "").columns[cell.column] = token
