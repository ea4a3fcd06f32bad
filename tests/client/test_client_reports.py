"""Reports: what is retried, what is final, and how errors read."""

import time

import grpc
import pytest

from fasttree.client import (
    CallError,
    Client,
    DeadlineExceededError,
    EndpointsError,
    InvalidArgumentError,
    NotFoundError,
    Retries,
    StreamInterruptedError,
    UnavailableError,
)
from fasttree.v1 import report_pb2, types_pb2
from tests.fakes.cluster import fake_cluster
from tests.waiting import until

RETRIED = [
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.CANCELLED,
]


@pytest.mark.parametrize("code", RETRIED)
async def test_a_reset_read_is_made_again(code: grpc.StatusCode) -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        cluster.reports.failures = [code, code]
        answer = await client.reports.get_member("m1")
        assert answer.member.sponsor_id == "m0"
        assert cluster.reports.calls == 3


async def test_what_a_server_says_is_final() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        with pytest.raises(NotFoundError, match="no member x") as raised:
            await client.reports.get_member("x")
        assert (raised.value.reason, raised.value.field, raised.value.value) == ("NOT_FOUND", "member_id", "x")
        assert cluster.reports.calls == 1


async def test_a_servers_own_fault_is_not_hammered() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        cluster.reports.members = None  # type: ignore[assignment]
        with pytest.raises(CallError, match="INTERNAL"):
            await client.reports.get_member("m1")
        assert cluster.reports.calls == 1


async def test_retries_end_at_the_deadline() -> None:
    async with fake_cluster() as cluster:
        client = Client(cluster.endpoints, retries=Retries(timeout_s=0.3))
        cluster.reports.failures = [grpc.StatusCode.UNAVAILABLE] * 1_000
        before = time.monotonic()
        with pytest.raises((UnavailableError, DeadlineExceededError)):
            await client.reports.describe_tree()
        assert time.monotonic() - before < 5
        assert cluster.reports.calls > 1
        await client.close()


async def test_a_report_waits_for_what_was_pushed() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints, read_your_writes=True) as client:
        posted = types_pb2.VolumePosted(member_id="m1", amount_hundredths=1)
        updates = [types_pb2.Update(update_id=f"o-{number}", volume_posted=posted) for number in range(3)]
        assert [receipt.position async for receipt in client.push(updates)] == [1, 2, 3]
        await client.reports.get_member("m1")
        assert cluster.reports.last_request.options.min_position == 3
        await client.reports.list_held_updates()
        assert cluster.reports.last_request.min_position == 3
        await client.reports.get_member("m1", options=report_pb2.ReportOptions(min_position=2))
        assert cluster.reports.last_request.options.min_position == 2


async def test_without_read_your_writes_nothing_is_waited_for() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        posted = types_pb2.VolumePosted(member_id="m1", amount_hundredths=1)
        assert [one.position async for one in client.push([types_pb2.Update(update_id="o", volume_posted=posted)])] == [
            1
        ]
        await client.reports.list_upline("m2")
        assert cluster.reports.last_request.options.min_position == 0


async def test_a_stream_is_begun_again_but_never_in_its_middle() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        cluster.reports.failures = [grpc.StatusCode.UNAVAILABLE]
        request = report_pb2.StreamDownlineRequest()
        ids = [one.member_id async for answer in client.reports.stream_downline(request) for one in answer.members]
        assert ids == ["m0", "m1", "m2", "m3", "m4"]

        cluster.reports.break_stream = True
        ids = []
        with pytest.raises(StreamInterruptedError, match="run it again"):
            async for answer in client.reports.stream_downline(request):
                ids += [one.member_id for one in answer.members]
        assert ids == ["m0", "m1"]


async def test_a_stream_that_is_left_is_ended_at_the_node() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        cluster.reports.hold_stream = True
        for _ in range(3):
            async for answer in client.reports.stream_downline(report_pb2.StreamDownlineRequest()):
                assert answer.members
                break
        await until(lambda: cluster.reports.streams_ended == 3, "the node to hear of it")


async def test_a_wrong_column_is_named() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        request = report_pb2.StreamDownlineRequest(options=report_pb2.ReportOptions(columns=["nonsense"]))
        with pytest.raises(InvalidArgumentError, match="nonsense"):
            async for _ in client.reports.stream_downline(request):
                pass


async def test_a_node_by_name() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        answer = await client.reports_at("n2").search_members("m")
        assert len(answer.members) == 5
        with pytest.raises(EndpointsError, match="n1, n2"):
            client.reports_at("n9")
