"""Columns that records of the log declare: there at once, empty, alike in every tree, whatever its file has."""

from __future__ import annotations

import numpy as np
import pytest

from fasttree.v1 import types_pb2
from services.treenode.tree import FurtherColumn, Tree
from services.treenode.tree.columns.slots import rules_digest
from tests.shared.rules.test_rules import after, declared
from tests.treenode.tree import reads
from tests.treenode.tree.judge import CONFIG, naive_tree, table_of
from tests.treenode.tree.naive import Place
from tests.updates import enrolled

KINDS = [declared("zip"), declared("points", "integer"), declared("rate", "decimal"), declared("renewal", "date")]
VALUES = {"zip": "02134", "points": "7", "rate": "1.5", "renewal": "2026-12-31"}


def changed(member_id: str, **columns: str) -> types_pb2.Update:
    change = types_pb2.MemberChanged(member_id=member_id, columns=columns)
    return types_pb2.Update(update_id=f"change-{member_id}-{len(columns)}", member_changed=change)


def with_columns(update: types_pb2.Update, **columns: str) -> types_pb2.Update:
    update.member_enrolled.columns.update(columns)
    return update


def apply(tree: Tree, *updates: types_pb2.Update) -> None:
    """Applies and checks every invariant, the digest among them."""
    for update in updates:
        tree.apply(tree.position + 1, [update])
        tree.validate()


def of_a_file(**further: FurtherColumn) -> Tree:
    """The tree of a file with A and B, and these columns beside those of every naive tree."""
    naive = naive_tree()
    naive.places.update(A=Place(), B=Place(sponsor="A"))
    table = table_of(naive)
    table.further.update(further)
    return Tree.from_table(table, CONFIG, 1, 0)


def values_of(tree: Tree, member_id: str, name: str) -> int | str:
    column, row = tree.further[name], reads.row_of(tree, member_id)
    return column.text_at(row) if column.kind == "text" else int(column.values[row])


def test_from_the_record_on_updates_may_give_members_values() -> None:
    tree = Tree.empty(CONFIG)
    apply(tree, enrolled("A"), changed("A", points="1"))
    assert [each.reason for each in tree.rejected()] == ['there is no column "points"']
    apply(tree, *KINDS, changed("A", **VALUES), with_columns(enrolled("B", "A"), **VALUES), changed("B", points="x"))
    assert len(tree.rejected()) == 2
    for member_id in ("A", "B"):
        assert values_of(tree, member_id, "zip") == "02134"
        assert values_of(tree, member_id, "points") == 7
        assert values_of(tree, member_id, "rate") == 1_500_000
    # Members that nobody gave any: a batch of them, beyond the room that there was.
    capacity = tree.store.capacity
    tree.apply(tree.position + 1, [enrolled(f"m{number}", "A") for number in range(2 * capacity)])
    tree.validate()
    assert values_of(tree, "m7", "points") == tree.further["points"].unknown


def test_states_and_layouts_keep_declared_columns() -> None:
    tree = Tree.empty(CONFIG)
    apply(tree, enrolled("A"), *KINDS, changed("A", **VALUES))
    for other in (Tree.from_state(*tree.state()), tree.relayout()):
        other.validate()
        assert (other.digest, other.rules, list(other.further)) == (tree.digest, tree.rules, list(tree.further))
        apply(other, with_columns(enrolled("B", "A"), **VALUES))
        assert values_of(other, "B", "points") == 7


def test_an_import_that_lacks_a_declared_column_has_it_empty() -> None:
    rules = after(CONFIG, *KINDS)
    naive = naive_tree()
    naive.places.update(A=Place(), B=Place(sponsor="A"))
    tree = Tree.from_table(table_of(naive), rules, 1, len(KINDS))
    tree.validate()
    assert {*VALUES, "city", "team"} == set(tree.further)
    apply(tree, changed("B", **VALUES))
    assert (values_of(tree, "A", "zip"), values_of(tree, "B", "zip")) == ("", "02134")
    # The same by records after the file: the way of a file that is older than they are.
    older = of_a_file()
    apply(older, *KINDS, changed("B", **VALUES))
    assert older.digest == tree.digest
    assert rules_digest(older.rules) == rules_digest(rules)


@pytest.mark.parametrize("kind", ["integer", "text"])
def test_what_the_file_in_force_has_keeps_its_type_and_its_values(kind: str) -> None:
    tree = of_a_file(points=FurtherColumn.of_texts(["12", "SW1A 1AA"]), age=FurtherColumn("integer", np.array([4, 5])))
    apply(tree, declared("points", kind), declared("age", "text"))
    assert values_of(tree, "B", "points") == "SW1A 1AA"
    assert values_of(tree, "B", "age") == 5
    apply(tree, changed("A", points="N1", age="6"), changed("B", age="six"))
    assert (values_of(tree, "A", "points"), values_of(tree, "A", "age")) == ("N1", 6)
    assert len(tree.rejected()) == 1
    other = Tree.from_state(*tree.state())
    assert (other.digest, other.further["points"].kind) == (tree.digest, "text")
