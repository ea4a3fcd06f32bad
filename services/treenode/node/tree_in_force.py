"""The tree that updates go to, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

TreeT = TypeVar("TreeT")
#: Stands for a record's content: its checksum.
ContentT = TypeVar("ContentT")


@dataclass(frozen=True, slots=True)
class TreeInForce(Generic[TreeT, ContentT]):
    """Never changed: whoever holds one keeps what belongs together. Another takes its place."""

    tree: TreeT
    #: Position and content of the newest record that is known to be in the tree; position 0: none.
    last_record: tuple[int, ContentT]
    #: Positions of the updates that were held when the file of the tree's import was taken.
    carried: tuple[int, ...] = ()

    def with_record(self, position: int, content: ContentT) -> TreeInForce[TreeT, ContentT]:
        """After that record was applied; the tree may be one that took its place, and knows of a newer one."""
        return replace(self, last_record=(position, content)) if position > self.last_record[0] else self

    def replaced_by(
        self, tree: TreeT, last_record: tuple[int, ContentT], carried: tuple[int, ...] | None
    ) -> TreeInForce[TreeT, ContentT]:
        """Another tree of the same log, which is as far or further. `carried`: None where it is of the same import.

        A tree out of a file knows of no record in it; that of the one before is in it as well.
        """
        newest = last_record if last_record[0] >= self.last_record[0] else self.last_record
        return TreeInForce(tree, newest, self.carried if carried is None else carried)


class OldTree(NamedTuple, Generic[TreeT]):
    """The tree of the log that the node had before; nothing is applied to it any more."""

    log_id: str
    tree: TreeT
