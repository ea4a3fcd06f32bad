"""A member that is answered before a call is made: the same answer, or none, which has the call itself give it."""

from __future__ import annotations

import pytest

from fasttree.v1 import report_pb2, types_pb2
from tests.treenode.reports.conftest import Served, Services
from tests.treenode.reports.genealogies import PERIODS, VOLUME_TYPES, random_tree
from tests.treenode.reports.naive import NaiveTree, members_of


@pytest.fixture
def naive() -> NaiveTree:
    return NaiveTree(random_tree(1))


@pytest.fixture
async def served(services: Services) -> Served:
    return await services.start(random_tree(1))


async def test_a_member_that_is_answered_at_once_is_the_same(served: Served, naive: NaiveTree) -> None:
    node, servicer = served.node, served.servicer
    for member_id in members_of(naive):
        request = report_pb2.GetMemberRequest(member_id=member_id)
        at_once = servicer.member_at_once(request.SerializeToString())
        assert at_once == await servicer.GetMember(request, None)  # type: ignore[arg-type]
        assert at_once is not None
        answer = report_pb2.GetMemberResponse.FromString(at_once)
        assert (answer.member.member_id, answer.as_of) == (member_id, node.as_of())
        for other in (
            report_pb2.GetMemberRequest(member_id=member_id, options=report_pb2.ReportOptions(min_position=1)),
            report_pb2.GetMemberRequest(member_id=member_id, options=report_pb2.ReportOptions()),
            report_pb2.GetMemberRequest(member_id=member_id + "\0"),
            report_pb2.GetMemberRequest(member_id=" " + member_id),
        ):
            assert servicer.member_at_once(other.SerializeToString()) is None
        async with node.gate.write():
            assert servicer.member_at_once(request.SerializeToString()) is None


async def test_what_the_call_itself_has_to_say_is_not_said_at_once(served: Served, naive: NaiveTree) -> None:
    empty = [person.member_id for person in naive.people.values() if not person.kind]
    for member_id in ("nobody", "", "x" * 32, "x" * 33, "\0", "é", *empty):
        request = report_pb2.GetMemberRequest(member_id=member_id).SerializeToString()
        assert served.servicer.member_at_once(request) is None
    known = report_pb2.GetMemberRequest(member_id=members_of(naive)[0]).SerializeToString()
    for wrong in (b"\n", known[:-1], known + b"\0", b"\x12" + known[1:], known + known):
        assert served.servicer.member_at_once(wrong) is None
    served.node.tree = None
    assert served.servicer.member_at_once(known) is None


async def test_what_names_no_period_is_of_the_month_that_is_current_now(served: Served, naive: NaiveTree) -> None:
    member_id = next(each for each in members_of(naive) if naive.people[each].personal[VOLUME_TYPES[0], PERIODS[0]])
    request = report_pb2.GetMemberRequest(member_id=member_id)
    assert (await served.stub.GetMember(request)).member.pv_hundredths
    opened = types_pb2.PeriodOpened(period="2031-01", becomes_current=True)
    await served.node.apply([types_pb2.Update(update_id="month", period_opened=opened)])
    assert (await served.stub.GetMember(request)).member.pv_hundredths == 0
