"""Whatever is in an update: the pusher refuses it, or every engine takes it, the same way, and lives.

Ten seconds each; `make fuzz` goes on for longer.
"""

from __future__ import annotations

import numpy as np

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.admission.messages import batch_of
from services.shared.domain.sentences import is_plain
from services.shared.domain.updates import NO_CHANGE, change_problem
from services.treenode.tree import FurtherColumn, Tree
from tests.treenode.tree.fuzzing import fuzz
from tests.treenode.tree.judge import COLUMNS, CONFIG, expect_same, naive_tree, table_of, tree_of
from tests.treenode.tree.naive import NaiveTree, Place

#: Kinds that the naive tree has no idea of.
UNKNOWN_TO_IT = {field.name for field in types_pb2.Update.DESCRIPTOR.oneofs_by_name["change"].fields} - {
    name.removeprefix("_") for name in vars(NaiveTree)
}


def naive() -> NaiveTree:
    """A few members, two of them in a line."""
    tree = naive_tree()
    tree.places.update(
        A=Place(), B=Place(sponsor="A", placement="A", leg=1), C=Place(sponsor="B", columns={"city": "Oslo"})
    )
    return tree


def tree_with_every_kind_of_column() -> Tree:
    table = table_of(naive())
    table.further["points"] = FurtherColumn("integer", np.array([1, 2, 3], dtype=np.int64))
    table.further["ratio"] = FurtherColumn("decimal", np.array([1, 2, 3], dtype=np.int64))
    table.further["since"] = FurtherColumn("date", np.array([1, 2, 3], dtype=np.int32))
    return Tree.from_table(table, CONFIG, 1, 0)


def taken_by_the_pusher(updates: list[types_pb2.Update]) -> list[types_pb2.Update]:
    """What of it would stand in the log; each of the others has its reason."""
    batch = batch_of(pusher_pb2.PushUpdatesRequest(updates=updates), CONFIG)
    assert len(batch.contents) + len(batch.malformed) == len(updates)
    assert all(malformed.problem and is_plain(malformed.problem) for malformed in batch.malformed.values())
    return [types_pb2.Update.FromString(content) for content in batch.contents]


def test_every_update_is_applied_held_or_rejected_and_the_tree_is_whole() -> None:
    def check(batch: list[types_pb2.Update]) -> None:
        whole, alone = tree_with_every_kind_of_column(), tree_with_every_kind_of_column()
        # As they stand in a log whose pusher took everything, too.
        log = [*taken_by_the_pusher(batch), *batch]
        told = whole.apply(1, log)
        for position, update in enumerate(log, 1):
            alone.apply(position, [update])
        assert whole.position == len(log)
        assert whole.digest == alone.digest
        assert all(is_plain(each.reason) and len(each.reason) < 1_000 for each in told)
        whole.validate()
        meta, arrays = whole.state()
        assert Tree.from_state(meta, {name: array.copy() for name, array in arrays.items()}).digest == whole.digest

    assert list(fuzz(check))


def test_what_the_form_refuses_the_engine_rejects_for_the_same_reason() -> None:
    def check(batch: list[types_pb2.Update]) -> None:
        tree = tree_with_every_kind_of_column()
        for position, update in enumerate(batch, 1):
            kind = update.WhichOneof("change")
            problem = NO_CHANGE if kind is None else change_problem(kind, getattr(update, kind))
            told = tree.apply(position, [update])
            if problem is not None and kind not in UNKNOWN_TO_IT:
                assert [(each.position, each.reason) for each in told] == [(position, problem)]

    assert list(fuzz(check))


def test_the_naive_tree_comes_to_the_same() -> None:
    def check(batch: list[types_pb2.Update]) -> None:
        judge = naive()
        tree = tree_of(judge)
        taken = [update for update in taken_by_the_pusher(batch) if update.WhichOneof("change") not in UNKNOWN_TO_IT]
        tree.apply(1, taken)
        for update in taken:
            judge.apply(update)
        expect_same(tree, judge)

    assert set(COLUMNS) == {"city", "team"}
    assert list(fuzz(check))
