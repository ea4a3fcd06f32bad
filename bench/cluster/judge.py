"""Judges a cluster: its log against what was acknowledged, its nodes against a replay of the log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.cluster.cluster import RunningCluster
from fasttree.client import Client
from fasttree.v1 import pusher_pb2, types_pb2
from services.shared.rules import RulesHistory
from services.treenode.imports.reading import read_import
from services.treenode.tree import Skip, Tree


@dataclass(frozen=True)
class LogVerdict:
    """What the log says of the acknowledged updates.

    Attributes:
        updates: The log's updates in order.
        lost: Acknowledged ids that are not in the log at the position that their receipt says.
        twice: Ids that stand in the log more than once.
    """

    updates: list[types_pb2.Update]
    lost: list[str]
    twice: list[str]


async def judge_log(client: Client, receipts: Iterable[pusher_pb2.Receipt]) -> LogVerdict:
    """Reads the whole log and compares it with the receipts.

    Raises:
        AssertionError: The log has a gap.
    """
    end = (await client.get_pusher()).log_end.position
    updates: list[types_pb2.Update] = []
    positions: dict[str, int] = {}
    twice = []
    # An empty log has no range to read.
    records = client.read_log(1, end) if end else None
    while records is not None and (record := await anext(records, None)) is not None:
        if record.position != len(updates) + 1:
            raise AssertionError(f"the log goes from {len(updates)} to {record.position}")
        update = types_pb2.Update.FromString(record.update)
        if update.update_id in positions:
            twice.append(update.update_id)
        positions[update.update_id] = record.position
        updates.append(update)
    lost = [
        receipt.update_id
        for receipt in receipts
        if receipt.code == 0 and positions.get(receipt.update_id) != receipt.position
    ]
    return LogVerdict(updates, lost, twice)


def replay(
    import_file: Path | None, updates: list[types_pb2.Update], *, import_id: int = 1, as_of_position: int = 0
) -> Tree:
    """The tree that an import file (with nothing held when it was taken) and the log's later updates give."""
    tree = tree_of_file(import_file, updates, import_id=import_id, as_of_position=as_of_position)
    replay_onto(tree, updates)
    tree.validate()
    return tree


def tree_of_file(
    import_file: Path | None, updates: list[types_pb2.Update], *, import_id: int = 1, as_of_position: int = 0
) -> Tree:
    """The tree of an import file alone; of nothing where there is none. `updates`: the log, which has the rules."""
    rules = RulesHistory(enumerate(updates, 1)).at(as_of_position)
    if import_file is None:
        return Tree.empty(rules)
    declared = {column.name: column.kind for column in rules.columns}
    table = read_import(import_file, volume_types=rules.volume_types, periods=rules.periods, declared=declared)
    return Tree.from_table(table, rules, import_id=import_id, position=as_of_position)


def replay_onto(tree: Tree, updates: list[types_pb2.Update]) -> None:
    """Applies those of the log's updates, given from position 1 on, that the tree does not have yet."""
    teach_skips(tree, updates)
    for start in range(tree.position, len(updates), 1_000):
        tree.apply(start + 1, updates[start : start + 1_000])


def teach_skips(tree: Tree, updates: list[types_pb2.Update]) -> None:
    """Tells a tree what operators decided to skip, anywhere in the log: as a node, it knows before it takes records."""
    for update in updates:
        if update.HasField("update_skipped"):
            skipped = update.update_skipped
            tree.learn_skip(Skip(skipped.position, skipped.skipped_update_id, skipped.reason))


async def differing_nodes(cluster: RunningCluster, tree: Tree) -> list[str]:
    """Names of nodes whose digest at the tree's position is another one than the tree's.

    A node that was away while an import went round may be at the position of the tree before it first.
    """
    await cluster.wait_applied(tree.position, import_id=tree.import_id)
    return [name for name in cluster.node_names if (await cluster.digest(name, tree.position)).digest != tree.digest]
