"""MemberErased: the cells of personal columns are empty, all else stays, and every way there has the same digest."""

from __future__ import annotations

from fasttree.v1 import types_pb2
from services.treenode.tree import Tree
from tests.treenode.reports.genealogies import config
from tests.treenode.reports.personal.test_right import declared, enrolled


def erased(member_id: str, number: int = 1) -> types_pb2.Update:
    change = types_pb2.MemberErased(member_id=member_id)
    return types_pb2.Update(update_id=f"erased-{number}", member_erased=change)


def tree_of(*updates: types_pb2.Update) -> Tree:
    tree = Tree.empty(config())
    tree.apply(1, [declared("phone", personal=True), declared("shirt", personal=False), *updates])
    tree.validate()
    return tree


def cells(tree: Tree, row: int) -> tuple[str, str]:
    return tree.further["phone"].text_at(row), tree.further["shirt"].text_at(row)


def test_personal_cells_are_empty_and_the_digest_is_of_what_is_there() -> None:
    tree = tree_of(enrolled("a", phone="1", shirt="XL"), enrolled("b", "a", phone="2", shirt="M"), erased("a"))
    assert (cells(tree, 0), cells(tree, 1)) == (("", "XL"), ("2", "M"))
    assert tree.member_count == 2
    never = tree_of(enrolled("a", shirt="XL"), enrolled("b", "a", phone="2", shirt="M"), erased("a"))
    assert tree.digest == never.digest


def test_again_and_of_nobody_it_changes_nothing() -> None:
    once = tree_of(enrolled("a", phone="1", shirt="XL"), erased("a"))
    digest = once.digest
    assert once.apply(once.position + 1, [erased("a", 2), erased("nobody", 3)]) == []
    assert once.digest == digest
    assert cells(once, 0) == ("", "XL")
