"""A batch of a few members takes the way of single ones; its answers are those of many, and of the single call."""

from __future__ import annotations

import random

import pytest

from fasttree.v1 import report_pb2
from services.treenode.tree import Tree
from tests.treenode.reports.conftest import Services
from tests.treenode.reports.genealogies import random_tree
from tests.treenode.reports.naive import PLACEMENT, SPONSOR, NaiveTree


@pytest.fixture(scope="module")
def tree() -> Tree:
    return random_tree(3)


@pytest.mark.parametrize("which", [SPONSOR, PLACEMENT], ids=["sponsor", "placement"])
@pytest.mark.parametrize("columns", [[], ["member_id", "gv"], ["*"]], ids=["usual", "two", "all"])
async def test_few_and_many_are_answered_alike(tree: Tree, services: Services, which: int, columns: list[str]) -> None:
    served = await services.start(tree, None)
    options = report_pb2.ReportOptions(tree=which, columns=columns)  # type: ignore[arg-type]
    people = NaiveTree(tree).people.values()
    asked = ["nobody", "1" * 32, *(person.member_id for person in people)]
    random.Random(7).shuffle(asked)

    async def batch(member_ids: list[str]) -> report_pb2.BatchGetMembersResponse:
        request = report_pb2.BatchGetMembersRequest(member_ids=member_ids, options=options)
        return await served.stub.BatchGetMembers(request)

    many = await batch(asked)
    assert len(asked) > 100
    by_id = {member.member_id: member for member in many.members}
    assert "nobody" in many.unknown_member_ids
    for few in (asked[:1], asked[:40], asked[20:120], [asked[5], asked[5]]):
        answer = await batch(few)
        assert list(answer.members) == [by_id[member_id] for member_id in few if member_id in by_id]
        assert list(answer.unknown_member_ids) == [member_id for member_id in few if member_id not in by_id]
        assert answer.as_of == many.as_of
    known = next(member_id for member_id in asked if member_id in by_id)
    single = await served.stub.GetMember(report_pb2.GetMemberRequest(member_id=known, options=options))
    assert single.member == by_id[known]
