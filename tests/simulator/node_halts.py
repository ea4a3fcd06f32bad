"""What a simulated node does when its engine fails: a tree that was broken midway is made anew, as far as it can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.treenode.node.sequence_events import (
    Halt,
    StateLost,
)
from services.treenode.node.tree_in_force import TreeInForce
from services.treenode.replication.stream import SliceFailed
from tests.simulator.checkers import Violation
from tests.simulator.toy_tree import EngineFailed, ToyTree

if TYPE_CHECKING:
    from tests.simulator.node_process import NodeProcess
    from tests.simulator.node_state import Snapshot


def recover(node: NodeProcess, failed: EngineFailed) -> SliceFailed:
    """Puts the tree in force that the node goes on with; what its core is told."""
    node.tell(f"halts before {failed.position}")
    halt = Halt(failed.position, failed.position, "a defect")
    if failed.is_whole:
        return SliceFailed(halt, node.tree.position)
    sequence = node.core.sequence
    broke = (sequence.log_id, failed.position)
    if broke in node.broken_by:
        raise Violation(f"halt: {node.name} tries {failed.position} again, which broke its tree")
    node.broken_by.add(broke)
    saved: Snapshot | None = node.disk.read("snapshot")
    stands = (sequence.log_id, sequence.import_id)
    if saved is not None and node.is_sound(saved) and (saved.log_id, saved.tree.import_id) == stands:
        node.in_force = TreeInForce(saved.tree.copy(), saved.last_record, saved.carried)
        return _from_here(node, halt)
    if sequence.import_id == 0 and sequence.log_end is not None and sequence.log_end.first_position == 1:
        node.in_force = TreeInForce(ToyTree(), (0, None))
        return _from_here(node, halt)
    return SliceFailed(halt, None)


def _from_here(node: NodeProcess, halt: Halt) -> SliceFailed:
    """The records up to the update come by the stream: here nobody reads the log for it, as where it can't be read."""
    if node.tree.is_bare and node.tree.position + 1 < halt.before:
        return SliceFailed(halt, None)
    node.tree.skips = node.skips
    return SliceFailed(halt, node.tree.position)


def hear_skips(node: NodeProcess, skipped: tuple[int, ...]) -> None:
    """Every decision that is in the node's log."""
    node.skips = node.tree.skips = frozenset(skipped)
    check_skips(node)


def check_skips(node: NodeProcess) -> None:
    """A tree that has taken a skipped update is of no use."""
    if too_late := node.tree.too_late():
        node.handle(StateLost(f"it has taken {too_late}, which is skipped"))


def has_halted(node: NodeProcess, before: int) -> bool:
    """Whether it has halted before that update, and serves."""
    halt = node.core.sequence.halt
    return halt is not None and halt.before == before and stands_at_halt(node) and node.core.life.ready


def stands_at_halt(node: NodeProcess) -> bool:
    """Whether the next update is the one that it has halted before."""
    halt = node.core.sequence.halt
    return halt is not None and halt.before == node.tree.position + 1
