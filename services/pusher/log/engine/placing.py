"""Which position each update of an append gets: new ones the next, repeated ones the first they had; no I/O.

An update_id that is in the log is never stored again. With the same content it is a duplicate, and has the position
of the first; with other content it is a conflict, and has none. That holds within one append, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Content = TypeVar("Content")


@dataclass(frozen=True, slots=True)
class Placed(Generic[Content]):
    """As `Appended`, before anything is stored.

    Attributes:
        fresh: Content of each new update by its id, in the order of their positions.
        positions: Of each update; 0 for a conflict.
        duplicates: Indexes of those taken before with the same content.
        conflicts: Index → position of the record that has the same id with other content.
    """

    fresh: dict[str, Content]
    positions: list[int]
    duplicates: frozenset[int]
    conflicts: dict[int, int]


def place(
    update_ids: Sequence[str], contents: Sequence[Content], known: dict[str, tuple[int, Content]], next_position: int
) -> Placed[Content]:
    """Places updates.

    Args:
        update_ids, contents: One entry for each update.
        known: Position and content of those ids that are in the log; new ones are added to it.
        next_position: Of the first new update.
    """
    fresh: dict[str, Content] = {}
    positions: list[int] = []
    duplicates: set[int] = set()
    conflicts: dict[int, int] = {}
    for index, (update_id, content) in enumerate(zip(update_ids, contents, strict=True)):
        before = known.get(update_id)
        if before is None:
            position = next_position + len(fresh)
            known[update_id] = (position, content)
            fresh[update_id] = content
        elif before[1] == content:
            position = before[0]
            duplicates.add(index)
        else:
            position = 0
            conflicts[index] = before[0]
        positions.append(position)
    return Placed(fresh, positions, frozenset(duplicates), conflicts)
