"""A node keeps the state of each period that is closed for good, and answers from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from fasttree.v1 import report_pb2, report_pb2_grpc, treenode_pb2, treenode_pb2_grpc, types_pb2
from services.shared.rules import rules_message, rules_of
from services.shared.security.own import begin
from services.shared.security.settings import TlsSettings
from services.shared.serving.channels import open_channel
from services.treenode.app import TreeNode
from services.treenode.node.lifecycle import NodeState
from tests.fakes.coordinator import FakeCoordinator, fake_coordinator
from tests.fakes.pusher import FakePusher, fake_pusher
from tests.fakes.pusher_stream import Stream
from tests.shared.rules.test_rules import closed, founded, opened, sealed
from tests.shared.security.tokens.issuer import Issuer, settings, write_keys
from tests.treenode.running_node import load_import, running_node
from tests.updates import enrolled, moved, removed
from tests.waiting import until

RULES = rules_of(["PV"], ["2026-11", "2026-10"])
FILE = b"member_id,sponsor_id,status,rank,joined_on,pv\n" + b"".join(
    b"%s,%s,A,0,,%d.00\n" % row for row in [(b"A", b"", 1), (b"B", b"A", 2), (b"C", b"B", 3)]
)


def order(number: int, member_id: str, amount_hundredths: int, period: str = "") -> types_pb2.Update:
    change = types_pb2.VolumePosted(member_id=member_id, amount_hundredths=amount_hundredths, period=period)
    return types_pb2.Update(update_id=f"O-{number}", volume_posted=change)


#: Ten for October, the last of them late; then October is closed for good, by record 10, and all changes.
OCTOBER = [
    *(founded(RULES), enrolled("A"), enrolled("B", "A"), enrolled("C", "B")),
    *(order(1, "C", 100, "2026-10"), order(2, "B", 40), order(3, "X", 7)),
    *(closed("2026-10", "2026-11-05"), order(4, "C", 900, "2026-10"), sealed("2026-10")),
]
AFTER = [
    *(order(5, "C", 5_000), enrolled("D", "A"), moved("M-1", "C", "A"), removed("B"), enrolled("X", "A")),
    *(opened("2026-12", current=True), order(6, "C", 1), closed("2026-11")),
]
#: The gv of A and pv of C then.
THEN = {"A": 1_000, "B": 1_000, "C": 1_000}


async def follow(node: TreeNode, pusher: FakePusher) -> None:
    """The node takes the whole log."""
    async with Stream(node, pusher) as stream:
        await stream.hello()
        first = node.runner.core.sequence.position + 1
        if first <= len(pusher.updates):
            await stream.send(range(first, len(pusher.updates) + 1))


@asynccontextmanager
async def reports(node: TreeNode) -> AsyncIterator[report_pb2_grpc.ReportServiceAsyncStub]:
    async with open_channel(node.address.report) as channel:
        yield report_pb2_grpc.ReportServiceStub(channel)


def of(period: str, min_position: int = 0) -> report_pb2.ReportOptions:
    return report_pb2.ReportOptions(as_of_period=period, min_position=min_position)


async def volumes(node: TreeNode, period: str = "2026-10", timeout_s: float = 20.0) -> dict[str, int]:
    """Each member's group volume when the period was closed."""
    async with reports(node) as stub:
        request = report_pb2.ListDownlineRequest(options=of(period))
        answer = await stub.ListDownline(request, timeout=timeout_s)
    assert answer.as_of.closed_period == period
    return {member.member_id: member.gv_hundredths for member in answer.members}


async def refused(node: TreeNode, period: str) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await volumes(node, period)
    return error.value.code(), error.value.details() or ""


async def kept_of(node: TreeNode) -> treenode_pb2.GetNodeResponse:
    async with open_channel(node.address.instant) as channel:
        return await treenode_pb2_grpc.TreeNodeServiceStub(channel).GetNode(treenode_pb2.GetNodeRequest())


async def in_cluster(coordinator: FakeCoordinator, *names: str) -> None:
    await until(
        lambda: all(
            name in coordinator.heard and coordinator.heard[name].status.state in (3, 4, NodeState.PASSIVE)
            for name in names
        ),
        "the nodes to be ready",
    )


async def test_reports_of_a_closed_month_stay_as_they_were(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        pusher.updates = list(OCTOBER)
        await follow(node, pusher)
        assert await volumes(node) == THEN
        pusher.updates += AFTER
        await follow(node, pusher)
        assert await volumes(node) == THEN
        assert await volumes(node, "2026-11") == {"A": 5_047, "D": 0, "C": 5_000, "X": 7}

        async with reports(node) as stub:
            member = await stub.GetMember(report_pb2.GetMemberRequest(member_id="B", options=of("2026-10")))
            assert (member.member.pv_hundredths, member.member.gv_hundredths) == (0, 1_000)
            assert (member.as_of.position, member.as_of.closed_period, member.as_of.node) == (9, "2026-10", "n1")
            with pytest.raises(grpc.aio.AioRpcError) as gone:
                await stub.GetMember(report_pb2.GetMemberRequest(member_id="B"))
            assert gone.value.code() is grpc.StatusCode.NOT_FOUND
            november = report_pb2.ReportOptions(as_of_period="2026-10", period="2026-11")
            member = await stub.GetMember(report_pb2.GetMemberRequest(member_id="B", options=november))
            assert member.member.pv_hundredths == 40
            upline = await stub.ListUpline(report_pb2.ListUplineRequest(member_id="C", options=of("2026-10")))
            assert [each.member_id for each in upline.members] == ["B", "A"]
            held = await stub.ListHeldUpdates(report_pb2.ListHeldUpdatesRequest(as_of_period="2026-10"))
            assert [each.update_id for each in held.updates] == ["O-3"]
            assert (await stub.ListHeldUpdates(report_pb2.ListHeldUpdatesRequest())).total_count == 0
            rejected = await stub.ListRejectedUpdates(report_pb2.ListRejectedUpdatesRequest(as_of_period="2026-10"))
            assert rejected.total_count == 0
            described = await stub.DescribeTree(report_pb2.DescribeTreeRequest(as_of_period="2026-10"))
            assert (described.members, list(described.periods)) == (3, ["2026-10", "2026-11"])
            assert list((await stub.DescribeTree(report_pb2.DescribeTreeRequest())).periods) == ["2026-12"]
            stream = stub.StreamDownline(report_pb2.StreamDownlineRequest(options=of("2026-10")))
            rows = [each.member_id async for part in stream for each in part.members]
            assert rows == ["A", "B", "C"]


async def test_a_leader_sees_of_a_closed_month_his_downline_of_then(tmp_path: Path) -> None:
    issuer = Issuer()
    begin(TlsSettings(), settings(write_keys(tmp_path / "keys.json", issuer)))
    try:
        async with fake_pusher() as pusher, running_node(tmp_path / "n1") as node:
            pusher.updates = [*OCTOBER, *AFTER]
            await follow(node, pusher)
            await volumes(node)
            async with reports(node) as stub:

                async def seen(leader: str, period: str) -> list[str]:
                    sent = (("authorization", issuer.bearer(role="leader", member_id=leader)),)
                    asked = report_pb2.SearchMembersRequest(options=of(period), prefix="")
                    found: list[types_pb2.Member] = []
                    for asked.prefix in "ABCDX":
                        found += (await stub.SearchMembers(asked, metadata=sent)).members
                    return [each.member_id for each in found]

                # B left, C went over to A, and D came, all after October.
                assert await seen("B", "2026-10") == ["B", "C"]
                assert await seen("B", "") == []
                assert await seen("C", "2026-10") == ["C"]
                assert await seen("D", "2026-10") == []
                assert await seen("D", "2026-11") == ["D"]
                assert await seen("A", "2026-10") == ["A", "B", "C"]
    finally:
        begin(TlsSettings())


async def test_page_tokens_of_a_closed_month_and_of_now_do_not_mix(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        pusher.updates = [*OCTOBER, *AFTER]
        await follow(node, pusher)
        async with reports(node) as stub:
            then = report_pb2.ListDownlineRequest(options=of("2026-10"), page_size=2)
            first = await stub.ListDownline(then)
            then.page_token = first.next_page_token
            assert [each.member_id for each in (await stub.ListDownline(then)).members] == ["C"]
            for period in ("", "2026-11"):
                other = report_pb2.ListDownlineRequest(
                    options=of(period), page_size=2, page_token=first.next_page_token
                )
                with pytest.raises(grpc.aio.AioRpcError, match="page_token is damaged or belongs to another request"):
                    await stub.ListDownline(other)


async def test_what_is_asked_in_vain_is_told_apart(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        assert (await refused(node, "2026-10"))[0] is grpc.StatusCode.UNAVAILABLE
        pusher.updates = list(OCTOBER)
        await follow(node, pusher)
        code, text = await refused(node, "2026-11")
        assert (code, "not closed for good yet" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)
        code, text = await refused(node, "2025-01")
        assert (code, "there was no period 2025-01" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        code, text = await refused(node, "October")
        assert (code, 'as_of_period: "October"' in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        pusher.updates += [opened("2026-12", current=True), order(9, "A", 1)]
        async with reports(node) as stub:
            # A report that follows a push waits for the live tree, as any other one.
            asked = report_pb2.GetMemberRequest(member_id="A", options=of("2026-10", len(pusher.updates)))
            waiting = asyncio.ensure_future(stub.GetMember(asked, timeout=20))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await follow(node, pusher)
            assert (await waiting).as_of.position == 9


async def test_a_restart_finds_them_and_two_nodes_keep_the_same(tmp_path: Path) -> None:
    async with fake_pusher() as pusher:
        pusher.updates = [*OCTOBER, *AFTER]
        told = []
        for name in ("one", "two"):
            async with running_node(tmp_path / name, name=name) as node:
                await follow(node, pusher)
                await node.periods.writes_ended()
                told.append([(kept.period, kept.import_id, kept.position, kept.digest) for kept in node.periods.kept()])
        assert told[0] == told[1]
        assert [each[:3] for each in told[0]] == [("2026-11", 0, 17), ("2026-10", 0, 9)]
        async with running_node(tmp_path / "one") as node:
            await follow(node, pusher)
            assert await volumes(node) == THEN
            answer = await kept_of(node)
            assert [each.period for each in answer.kept_periods] == ["2026-11", "2026-10"]
            assert all(each.size_bytes > 1_000 and not each.replayed for each in answer.kept_periods)
            assert answer.kept_periods_problem == ""


async def test_a_node_that_joins_later_fetches_them(tmp_path: Path) -> None:
    async with (
        fake_pusher() as pusher,
        fake_coordinator() as coordinator,
        running_node(tmp_path / "1", coordinator=coordinator.address) as first,
    ):
        pusher.updates = [*OCTOBER, *AFTER]
        await follow(first, pusher)
        await until(lambda: len(first.periods.core.held) == 2, "both months")
        await until(lambda: "n1" in coordinator.heard and first.runner.core.life.ready, "n1")
        # An import whose file stands behind the closing: the node never passes it.
        manifest = pusher.add_import(1, FILE, len(pusher.updates))
        manifest.rules.CopyFrom(rules_message(first.runner.in_force.tree.rules))
        await load_import(first, pusher, manifest)
        async with running_node(tmp_path / "2", name="n2", coordinator=coordinator.address) as second:
            pusher.import_id = 1
            async with Stream(second, pusher) as stream:
                await stream.hello()
                await load_import(second, pusher, manifest)
                await stream.send([])
                await until(lambda: second.runner.core.life.ready, "n2")
                assert await volumes(second) == THEN
                assert await volumes(second, "2026-11") == await volumes(first, "2026-11")
            assert [kept.digest for kept in second.periods.kept()] == [kept.digest for kept in first.periods.kept()]


async def test_an_import_that_is_replayed_over_the_closing_changes_nothing(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        pusher.updates = [*OCTOBER, *AFTER]
        await follow(node, pusher)
        await node.periods.writes_ended()
        before = node.periods.kept()
        manifest = pusher.add_import(1, FILE, 4, force=True)
        manifest.rules.CopyFrom(rules_message(RULES))
        await load_import(node, pusher, manifest)
        assert node.runner.in_force.tree.import_id == 1
        assert (node.periods.kept(), await volumes(node)) == (before, THEN)


async def test_a_tree_that_is_not_the_clusters_any_more_keeps_what_counts_less(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        pusher.updates = [*OCTOBER, *AFTER]
        async with Stream(node, pusher) as stream:
            await stream.hello()
            await stream.send(range(1, 10))
            pusher.import_id = 1
            manifest = pusher.add_import(1, FILE, 4, force=True)
            manifest.rules.CopyFrom(rules_message(RULES))
            await stream.send(range(10, 11))
            await node.periods.writes_ended()
            assert [(kept.import_id, kept.replayed) for kept in node.periods.kept()] == [(0, True)]
            await load_import(node, pusher, manifest)
            await stream.send(range(11, len(pusher.updates) + 1))
            await node.periods.writes_ended()
        kept = [(each.period, each.import_id, each.replayed) for each in node.periods.kept()]
        assert kept == [("2026-11", 1, False), ("2026-10", 0, True)]


async def test_a_month_that_nobody_has_is_told_and_other_nodes_are_named(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path, periods_kept=1) as node:
        manifest = pusher.add_import(1, FILE, 10, force=True)
        rules = rules_of(["PV"], ["2026-11"])
        manifest.rules.CopyFrom(rules_message(rules))
        manifest.rules.sealed_periods.extend(["2026-08", "2026-09"])
        pusher.updates = list(OCTOBER)
        pusher.import_id = 1
        async with Stream(node, pusher) as stream:
            await stream.hello()
            await load_import(node, pusher, manifest)
            await stream.send([])
        await until(lambda: node.periods.core.problems, "the search to end")
        code, text = await refused(node, "2026-09")
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "does not keep period 2026-09: no node that answers has it" in text
        assert "no snapshot from before it was closed" in text
        code, text = await refused(node, "2026-08")
        assert (code, "older than the 1 periods" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)
        assert "period 2026-09 is not kept" in (await kept_of(node)).kept_periods_problem


async def test_the_oldest_month_goes_once_there_are_more_than_are_kept(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path, periods_kept=1) as node:
        pusher.updates = [*OCTOBER, *AFTER]
        await follow(node, pusher)
        await until(lambda: list(node.periods.core.held) == ["2026-11"], "November")
        await until(lambda: len(list((tmp_path / "periods").glob("*.period"))) == 1, "October to go")
        assert "older than the 1 periods" in (await refused(node, "2026-10"))[1]


async def test_states_of_another_log_are_set_aside(tmp_path: Path) -> None:
    async with fake_pusher() as pusher:
        pusher.updates = list(OCTOBER)
        async with running_node(tmp_path) as node:
            await follow(node, pusher)
    async with fake_pusher("log-2") as pusher, running_node(tmp_path) as node:
        pusher.updates = [founded(RULES), enrolled("A"), closed("2026-10")]
        async with Stream(node, pusher) as stream:
            await stream.hello(replaces=["log-1"])
            # It serves the old tree until it has an import of the new log, and its months.
            assert await volumes(node) == THEN
            await stream.send(range(1, 4))
            manifest = pusher.add_import(1, FILE, 3)
            manifest.rules.CopyFrom(rules_message(rules_of(["PV"], ["2026-11"])))
            pusher.import_id = 1
            await load_import(node, pusher, manifest)
            await until(lambda: not node.periods.core.held, "October to be set aside")
            await until(lambda: list((tmp_path / "periods" / "aside").glob("2026-10*.period")), "the file")


async def test_states_are_served_to_peers_whole_or_not_at_all(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        pusher.updates = list(OCTOBER)
        await follow(node, pusher)
        await node.periods.writes_ended()
        async with open_channel(node.address.instant) as channel:
            stub = treenode_pb2_grpc.TreeNodeServiceStub(channel)

            async def parts(**request: Any) -> list[treenode_pb2.DownloadSnapshotResponse]:
                call = stub.DownloadSnapshot(treenode_pb2.DownloadSnapshotRequest(closed_period="2026-10", **request))
                return [part async for part in call]

            manifest, *chunks = await parts(import_id=0, position=9)
            assert manifest.manifest.log_id == "log-1"
            assert sum(len(part.chunk.data) for part in chunks) == manifest.manifest.size_bytes
            (_, last) = await parts(position=9, offset=manifest.manifest.size_bytes - 3)
            assert len(last.chunk.data) == 3
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await parts(position=8)
            assert error.value.code() is grpc.StatusCode.NOT_FOUND
