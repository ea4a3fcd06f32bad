"""What reports owe to a client: a real node's, and the fake's that stands in for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeAlias

import grpc
import grpc.aio
import pytest

from fasttree.v1 import report_pb2, report_pb2_grpc
from services.shared.serving.channels import open_channel
from tests.fakes.import_file import csv_of
from tests.fakes.pusher import fake_pusher
from tests.fakes.pusher_stream import Stream
from tests.fakes.reports import FakeReports
from tests.treenode.running_node import load_import, running_node

_Reports: TypeAlias = "report_pb2_grpc.ReportServiceAsyncStub"
COUNT = 5
#: A chain: m0 on top, each the sponsor of the next; pv grows downwards.
FILE = csv_of([(f"m{n}", f"m{n - 1}" if n else "", f"{n}.00") for n in range(COUNT)])


@pytest.fixture(params=["fake", "real"])
async def reports(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[_Reports]:
    if request.param == "fake":
        fake = await FakeReports(COUNT).start()
        async with open_channel(fake.address) as channel:
            yield report_pb2_grpc.ReportServiceStub(channel)
        await fake.stop()
        return
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        await stream.hello()
        await load_import(node, pusher, pusher.add_import(1, FILE, 0))
        async with open_channel(node.address.report) as channel:
            yield report_pb2_grpc.ReportServiceStub(channel)


async def test_a_member_and_where_it_stands(reports: _Reports) -> None:
    answer = await reports.GetMember(report_pb2.GetMemberRequest(member_id="m2"))
    member = answer.member
    assert (member.member_id, member.sponsor_id, member.level) == ("m2", "m1", 2)
    assert (member.pv_hundredths, member.downline_count) == (200, 2)
    assert answer.as_of.import_id == 1
    assert answer.as_of.node


async def test_nobody_of_that_name(reports: _Reports) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await reports.GetMember(report_pb2.GetMemberRequest(member_id="m9"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    answer = await reports.BatchGetMembers(report_pb2.BatchGetMembersRequest(member_ids=["m3", "m9", "m1"]))
    assert [member.member_id for member in answer.members] == ["m3", "m1"]
    assert list(answer.unknown_member_ids) == ["m9"]


async def test_those_above_and_those_right_below(reports: _Reports) -> None:
    upline = await reports.ListUpline(report_pb2.ListUplineRequest(member_id="m3"))
    assert [(member.member_id, member.level) for member in upline.members] == [("m2", 1), ("m1", 2), ("m0", 3)]
    assert (upline.total_count, upline.next_page_token) == (3, "")
    front_line = await reports.ListFrontLine(report_pb2.ListFrontLineRequest(member_id="m1"))
    assert [member.member_id for member in front_line.members] == ["m2"]
    assert front_line.total_count == 1


async def test_an_upline_page_by_page(reports: _Reports) -> None:
    request = report_pb2.ListUplineRequest(member_id="m4", page_size=3)
    answer = await reports.ListUpline(request)
    assert ([member.member_id for member in answer.members], answer.total_count) == (["m3", "m2", "m1"], 4)
    request.page_token = answer.next_page_token
    answer = await reports.ListUpline(request)
    assert ([member.member_id for member in answer.members], answer.total_count) == (["m0"], 4)
    assert answer.next_page_token == ""


async def test_a_page_of_the_downline(reports: _Reports) -> None:
    sort = report_pb2.SortKey(column="pv", descending=True)
    request = report_pb2.ListDownlineRequest(member_id="m0", sort=sort, page_size=2)
    answer = await reports.ListDownline(request)
    assert [member.member_id for member in answer.members] == ["m4", "m3"]
    assert answer.total_count == COUNT


async def test_a_stream_says_what_it_is_as_of_in_its_first_message(reports: _Reports) -> None:
    call = reports.StreamDownline(report_pb2.StreamDownlineRequest(member_id="m0"))
    messages = [message async for message in call]
    assert {member.member_id for message in messages for member in message.members} == {"m0", "m1", "m2", "m3", "m4"}
    assert [message.HasField("as_of") for message in messages] == [index == 0 for index in range(len(messages))]


async def test_a_column_that_is_not_there(reports: _Reports) -> None:
    options = report_pb2.ReportOptions(columns=["nonsense"])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in reports.StreamDownline(report_pb2.StreamDownlineRequest(member_id="m0", options=options)):
            pass
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_summary_adds_up(reports: _Reports) -> None:
    request = report_pb2.SummarizeDownlineRequest(member_id="m0", dimensions=[report_pb2.SUMMARY_DIMENSION_LEVEL])
    answer = await reports.SummarizeDownline(request)
    (summary,) = answer.summaries
    assert summary.dimension == report_pb2.SUMMARY_DIMENSION_LEVEL
    assert answer.total.members == sum(group.members for group in summary.groups) == COUNT
    assert answer.total.pv_hundredths == sum(group.pv_hundredths for group in summary.groups) == 1000


async def test_search_and_description(reports: _Reports) -> None:
    found = await reports.SearchMembers(report_pb2.SearchMembersRequest(prefix="m3"))
    assert [member.member_id for member in found.members] == ["m3"]
    tree = await reports.DescribeTree(report_pb2.DescribeTreeRequest())
    assert (tree.members, tree.roots) == (COUNT, 1)
