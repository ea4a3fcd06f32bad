"""Nothing of a member outside a leader's downline comes back in any field of any report, by either server; and what he
sees is right: the oracle's rows, with levels from himself, and blanks for those above.

A call that `ASKED` has not is one that nobody has thought about.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from fasttree.v1 import report_pb2, types_pb2
from services.shared.security.roles import CALLS
from services.treenode.reports import ReportLimits
from services.treenode.reports.plan.page_tokens import PageKey, page_token, read_page_token, request_digest
from services.treenode.reports.serving import SERVICE
from tests.treenode.reports.conftest import SMALL_LIMITS
from tests.treenode.reports.genealogies import random_tree
from tests.treenode.reports.naive import PLACEMENT, SPONSOR
from tests.treenode.reports.scope.world import Served, World, arrow_of, random_leaders, texts_of

Code = grpc.StatusCode
OUTSIDE_TRIED = 12


class Leader:
    """Asks as a leader, and looks at every text that comes back."""

    def __init__(self, served: Served, world: World) -> None:
        self.world, self._served = world, served
        bearer = served.issuer.bearer(role="leader", member_id=world.leader)
        self._metadata = (("authorization", bearer),)

    async def ask(self, call: str, request: Message) -> Any:
        """The answer, or the answers of a stream."""
        made = getattr(self._served.stub, call)(request, metadata=self._metadata)
        answers = [await made] if isinstance(made, grpc.aio.UnaryUnaryCall) else [each async for each in made]
        asked = set(texts_of(request))
        for answer in answers:
            for text in texts_of(answer):
                assert text in asked or text not in self.world.outside, (call, text)
        return answers[0] if isinstance(made, grpc.aio.UnaryUnaryCall) else answers

    async def refusal(self, call: str, request: Message) -> tuple[Code, str, list[str]]:
        """The status, and all that is said with it."""
        try:
            await self.ask(call, request)
        except grpc.aio.AioRpcError as error:
            trailers = [str(value) for _, value in error.trailing_metadata() or ()]
            return error.code(), error.details() or "", trailers
        raise AssertionError(f"{call} of {request} was answered")

    async def unknown(self, call: str, request: Callable[[str], Message]) -> None:
        """Whoever stands outside is answered as whoever is not there."""
        nobody = await self.refusal(call, request("nobody"))
        assert nobody[0] is Code.NOT_FOUND
        for member_id in self.world.outside[:OUTSIDE_TRIED]:
            found = await self.refusal(call, request(member_id))
            # Lengths of ids are lengths of fields in the details: of one length, they are the same.
            assert found[:2] == (nobody[0], nobody[1].replace("nobody", member_id)), (call, member_id)
            assert len(found[2]) == len(nobody[2])


def some(dice: random.Random, members: list[str], count: int = 6) -> list[str]:
    """A few of them."""
    return dice.sample(members, min(count, len(members)))


async def get_member(leader: Leader, dice: random.Random) -> None:
    world = leader.world
    for member_id in some(dice, world.inside):
        request = report_pb2.GetMemberRequest(member_id=member_id, options=world.options())
        assert (await leader.ask("GetMember", request)).member == world.own_level(member_id)
        if world.which == SPONSOR:
            # A call with nothing but an id has a way of its own, which knows of no leaders.
            plain = await leader.ask("GetMember", report_pb2.GetMemberRequest(member_id=member_id))
            expected = world.own_level(member_id)
            assert (plain.member.member_id, plain.member.level) == (member_id, expected.level)
            assert plain.member.sponsor_id == expected.sponsor_id
    await leader.unknown("GetMember", lambda each: report_pb2.GetMemberRequest(member_id=each, options=world.options()))
    if world.which == SPONSOR:
        await leader.unknown("GetMember", lambda each: report_pb2.GetMemberRequest(member_id=each))


async def batch_get_members(leader: Leader, dice: random.Random) -> None:
    world = leader.world
    everybody = [*world.inside, *world.outside, "nobody"]
    for asked in (some(dice, everybody, 20), dice.sample(everybody, len(everybody))):
        request = report_pb2.BatchGetMembersRequest(member_ids=asked, options=world.options())
        answer = await leader.ask("BatchGetMembers", request)
        assert list(answer.members) == [world.own_level(each) for each in asked if each in world.inside]
        assert list(answer.unknown_member_ids) == [each for each in asked if each not in world.inside]


async def list_upline(leader: Leader, dice: random.Random) -> None:
    world = leader.world
    for member_id in some(dice, world.inside):
        above = [each for each in world.naive.upline(world.which, member_id) if each.member_id in world.seen]
        expected = [world.member(each.member_id, level) for level, each in enumerate(above, 1) if each.kind]
        request = report_pb2.ListUplineRequest(member_id=member_id, options=world.options(), page_size=2)
        assert await pages(leader, "ListUpline", request) == expected

        def up_to(last: str, member_id: str = member_id) -> Message:
            return report_pb2.ListUplineRequest(member_id=member_id, to_member_id=last, options=world.options())

        if expected:
            answer = await leader.ask("ListUpline", up_to(world.leader))
            assert list(answer.members) == expected
        await leader.unknown("ListUpline", up_to)
    await leader.unknown(
        "ListUpline", lambda each: report_pb2.ListUplineRequest(member_id=each, options=world.options())
    )


async def pages(leader: Leader, call: str, request: Any) -> list[types_pb2.Member]:
    """All of them; each token says nothing of others, and is nobody else's."""
    found: list[types_pb2.Member] = []
    first = type(request)()
    first.CopyFrom(request)
    while True:
        answer = await leader.ask(call, request)
        found += answer.members
        if not answer.next_page_token:
            assert answer.total_count == len(found)
            return found
        key = read_page_token(answer.next_page_token, request_digest(request, leader.world.leader))
        assert not {key.member_id, key.text} & set(leader.world.outside)
        request.page_token = answer.next_page_token
        # As an operator has it, and as another leader has it.
        for foreign in (request_digest(first), request_digest(first, "another")):
            first.page_token = page_token(key, foreign)
            assert (await leader.refusal(call, first))[0] is Code.INVALID_ARGUMENT
            first.ClearField("page_token")


async def list_front_line(leader: Leader, dice: random.Random) -> None:
    world = leader.world
    for start in ["", *some(dice, world.inside)] if world.here else []:
        children = world.naive.people[start].children[world.which] if start else []
        expected = {each.member_id: world.member(each.member_id, 1) for each in children if each.kind}
        if not start:
            expected = {world.leader: world.member(world.leader, 0)}
        for column in ("member_id", "sponsor_id", "gv"):
            request = report_pb2.ListFrontLineRequest(
                member_id=start, options=world.options(), page_size=2, sort=report_pb2.SortKey(column=column)
            )
            found = await pages(leader, "ListFrontLine", request)
            assert {each.member_id: each for each in found} == expected
    await leader.unknown(
        "ListFrontLine", lambda each: report_pb2.ListFrontLineRequest(member_id=each, options=world.options())
    )


async def summarize_downline(leader: Leader, dice: random.Random) -> None:
    world = leader.world
    for start in ["", *some(dice, world.inside, 3)] if world.here else []:
        members = list(world.downline(start).values())
        for chosen in (None, report_pb2.DownlineFilter(min_rank=1)):
            counted = [each for each in members if chosen is None or each.rank >= 1]
            request = report_pb2.SummarizeDownlineRequest(member_id=start, options=world.options(), filter=chosen)
            answer = await leader.ask("SummarizeDownline", request)
            assert answer.total.members == len(counted)
            assert answer.total.pv_hundredths == sum(each.pv_hundredths for each in counted)
            keys = {summary.dimension: {group.key for group in summary.groups} for summary in answer.summaries}
            assert keys[report_pb2.SUMMARY_DIMENSION_LEVEL] == {str(each.level) for each in counted}
            assert keys[report_pb2.SUMMARY_DIMENSION_STATUS] == {each.status for each in counted}
    await leader.unknown(
        "SummarizeDownline", lambda each: report_pb2.SummarizeDownlineRequest(member_id=each, options=world.options())
    )


async def list_downline(leader: Leader, dice: random.Random) -> None:
    world = leader.world
    for start in ["", *some(dice, world.inside, 2)] if world.here else []:
        expected = world.downline(start)
        column = dice.choice(["member_id", "sponsor_id", "placement_id", "gv", "level", "status", "region"])
        request = report_pb2.ListDownlineRequest(
            member_id=start, options=world.options(), page_size=max(9, len(expected) // 4),
            sort=report_pb2.SortKey(column=column, descending=dice.random() < 0.5),
        )  # fmt: skip
        found = await pages(leader, "ListDownline", request)
        assert {each.member_id: each for each in found} == expected
        # A token that somebody has made up, of a row outside: it says where to go on, and opens nothing.
        for outside in some(dice, world.outside, 2):
            request.page_token = page_token(PageKey(0, outside, outside), request_digest(request, world.leader))
            answer = await leader.ask("ListDownline", request)
            assert {each.member_id for each in answer.members} <= expected.keys()
        near = report_pb2.ListDownlineRequest(
            member_id=start, options=world.options(), filter=report_pb2.DownlineFilter(max_level=2), page_size=1_000
        )
        answer = await leader.ask("ListDownline", near)
        assert {each.member_id for each in answer.members} == {
            name for name, each in expected.items() if each.level <= 2
        }
    await leader.unknown(
        "ListDownline", lambda each: report_pb2.ListDownlineRequest(member_id=each, options=world.options())
    )


async def stream_downline(leader: Leader, dice: random.Random) -> None:
    world = leader.world
    for start in ["", *some(dice, world.inside, 2)] if world.here else []:
        expected = world.downline(start)
        request = report_pb2.StreamDownlineRequest(member_id=start, options=world.options())
        answers = await leader.ask("StreamDownline", request)
        assert {each.member_id: each for answer in answers for each in answer.members} == expected
        request.format = report_pb2.ROW_FORMAT_ARROW
        rows, words = arrow_of(await leader.ask("StreamDownline", request))
        assert {row["member_id"] for row in rows} == expected.keys()
        for row in rows:
            member = expected[row["member_id"]]
            assert (row["sponsor_id"] or "", row["placement_id"] or "") == (member.sponsor_id, member.placement_id)
            assert (row["level"], row["gv"], row["status"]) == (member.level, member.gv_hundredths, member.status)
        # Not even that there is somebody with a status that nobody here has.
        assert words["status"] - {""} <= {member.status for member in expected.values()}
    await leader.unknown(
        "StreamDownline", lambda each: report_pb2.StreamDownlineRequest(member_id=each, options=world.options())
    )


async def search_members(leader: Leader, dice: random.Random) -> None:
    world = leader.world
    for prefix in ("A", "B", "M", "N", "A1", *some(dice, world.outside, 2)):
        request = report_pb2.SearchMembersRequest(prefix=prefix, options=world.options(), limit=5)
        answer = await leader.ask("SearchMembers", request)
        expected = [world.own_level(each) for each in world.inside if each.startswith(prefix)][:5]
        assert list(answer.members) == expected


async def list_holding_tank(leader: Leader, dice: random.Random) -> None:
    world = leader.world
    if world.which == PLACEMENT:
        return  # who waits for a placement stands in the other tree alone
    for start in ["", *some(dice, world.inside, 3)] if world.here else []:
        for which in (SPONSOR, PLACEMENT):
            options = report_pb2.ReportOptions(tree=types_pb2.Tree.ValueType(which), columns=["*"])
            request = report_pb2.ListHoldingTankRequest(member_id=start, options=options, page_size=3)
            found = await pages(leader, "ListHoldingTank", request)
            assert [each.member_id for each in found] == world.waiting(start)
            below = world.downline(start)
            assert found == [below[each.member_id] for each in found]
    await leader.unknown("ListHoldingTank", lambda each: report_pb2.ListHoldingTankRequest(member_id=each))


async def list_held_updates(leader: Leader, dice: random.Random) -> None:
    for request in (report_pb2.ListHeldUpdatesRequest(), report_pb2.ListHeldUpdatesRequest(member_id="not yet here")):
        assert (await leader.refusal("ListHeldUpdates", request))[0] is Code.PERMISSION_DENIED


async def list_rejected_updates(leader: Leader, dice: random.Random) -> None:
    request = report_pb2.ListRejectedUpdatesRequest()
    assert (await leader.refusal("ListRejectedUpdates", request))[0] is Code.PERMISSION_DENIED


async def describe_tree(leader: Leader, dice: random.Random) -> None:
    world = leader.world
    if world.which == PLACEMENT:
        return
    answer = await leader.ask("DescribeTree", report_pb2.DescribeTreeRequest())
    waiting = len(world.waiting("")) if world.here else 0
    assert (answer.members, answer.roots, answer.holding_tank) == (len(world.inside), int(world.here), waiting)


#: Every report, and how a leader's scope of it is tried.
ASKED: dict[str, Callable[[Leader, random.Random], Awaitable[None]]] = {
    "GetMember": get_member,
    "BatchGetMembers": batch_get_members,
    "ListUpline": list_upline,
    "ListFrontLine": list_front_line,
    "SummarizeDownline": summarize_downline,
    "ListDownline": list_downline,
    "StreamDownline": stream_downline,
    "SearchMembers": search_members,
    "ListHoldingTank": list_holding_tank,
    "ListHeldUpdates": list_held_updates,
    "ListRejectedUpdates": list_rejected_updates,
    "DescribeTree": describe_tree,
}


def test_of_every_report_it_is_decided_what_a_leader_sees() -> None:
    assert ASKED.keys() == {method.name for method in SERVICE.methods}, "a new report needs a way to try its scope here"
    assert {path.rpartition("/")[2] for path in CALLS["leader"]} == ASKED.keys() - {
        "ListHeldUpdates", "ListRejectedUpdates",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seed", "server", "limits"),
    [
        pytest.param(0, "nghttp2", SMALL_LIMITS, id="nghttp2, in threads"),
        pytest.param(1, "nghttp2", ReportLimits(), id="nghttp2, on the loop"),
        pytest.param(2, "grpcio", SMALL_LIMITS, id="grpcio, in threads"),
        pytest.param(3, "grpcio", ReportLimits(), id="grpcio, on the loop"),
    ],
)
async def test_a_leader_sees_his_downline_and_nothing_else(
    seed: int, server: str, limits: ReportLimits, tmp_path: Path
) -> None:
    dice = random.Random(seed)
    tree = random_tree(seed, 60, 60)
    async with Served(tree, tmp_path, server, limits) as served:
        for leader in random_leaders(dice, tree):
            for which in (SPONSOR, PLACEMENT):
                asking = Leader(served, World(tree, which, leader))
                for ask in ASKED.values():
                    await ask(asking, dice)


async def test_whoever_leaves_the_downline_is_seen_no_more_and_whoever_comes_is(tmp_path: Path) -> None:
    tree = random_tree(5)
    world = World(tree, SPONSOR, random_leaders(random.Random(5), tree)[1])
    stays = next(each for each in world.inside if each != world.leader and world.naive.people[each].kind)
    above = {each.member_id for each in world.naive.upline(SPONSOR, world.leader)}
    comes = next(each for each in world.outside if world.naive.people[each].kind and each not in above)
    async with Served(tree, tmp_path, "nghttp2", ReportLimits()) as served:
        asking = Leader(served, world)
        before = report_pb2.GetMemberRequest(member_id=stays)
        assert (await asking.ask("GetMember", before)).member.member_id == stays
        move = types_pb2.MemberMoved(member_id=comes, new_parent_id=world.leader, tree=types_pb2.TREE_SPONSOR)
        leave = types_pb2.MemberMoved(member_id=stays, tree=types_pb2.TREE_SPONSOR)
        await served.node.apply(
            [
                types_pb2.Update(update_id="leave", member_moved=leave),
                types_pb2.Update(update_id="come", member_moved=move),
            ]
        )
        asking = Leader(served, World(tree, SPONSOR, world.leader))
        assert (await asking.refusal("GetMember", before))[0] is Code.NOT_FOUND
        after = report_pb2.GetMemberRequest(member_id=comes)
        assert (await asking.ask("GetMember", after)).member.member_id == comes
        for ask in ASKED.values():
            await ask(asking, random.Random(5))
