"""What the report service sees of the node that it runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from services.treenode.reports.copy.gate import ReadGate

if TYPE_CHECKING:
    from services.treenode.tree import Tree


class NodeView(Protocol):
    """The node, as its shell shows it to reports. All of it is used on the node's event loop only."""

    @property
    def tree(self) -> Tree | None:
        """The tree that is served now; None before the first one. Changes in one step, with a writer in the gate."""

    @property
    def gate(self) -> ReadGate:
        """The shell applies updates, swaps and re-lays inside `gate.write()`, in slices of about 2 ms."""

    def as_of_bytes(self) -> bytes:
        """Import, position, epoch and freshness of `tree` as it is at this moment: an AsOf, serialized. The same object
        for as long as it holds.
        """

    async def wait_for_position(self, position: int) -> None:
        """Returns once `tree` has applied `position` (at once where it has). Waits for as long as it takes: the caller
        cancels it at its deadline. Raises UnavailableError if the node ends."""
