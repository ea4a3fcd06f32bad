"""A node whose engine fails at an update halts before it, serves on, says so, and goes on once it is skipped."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fasttree.v1 import report_pb2, report_pb2_grpc, treenode_pb2, treenode_pb2_grpc, types_pb2
from services.shared.rules import rules_message
from services.shared.serving.channels import open_channel
from services.treenode.app import TreeNode
from services.treenode.tree import Skip, Tree, apply, changes
from services.treenode.tree.kernels import postings
from tests.fakes.import_file import csv_of
from tests.fakes.pusher import FOUNDING, FakePusher, fake_pusher
from tests.fakes.pusher_stream import Stream
from tests.fakes.server import CLUSTER
from tests.treenode.running_node import load_import, running_node
from tests.updates import enrolled, posted
from tests.waiting import until

BAD = "bad"
FILE = csv_of([("A", "", "0.00"), ("B", "A", "0.00")])
#: The fourth one is bad.
UPDATES = [
    enrolled("A"),
    enrolled("B", "A"),
    posted("O-1", "B"),
    posted(BAD, "A"),
    posted("O-2", "A"),
    posted("O-3", "Z"),
]
SKIP = types_pb2.UpdateSkipped(position=4, reason="ticket 88", skipped_update_id=BAD)


def plant(monkeypatch: pytest.MonkeyPatch, *, midway: bool = False) -> None:
    """A defect: the engine fails at the update of that id, before or after it has changed something."""
    attempt, post_volumes = changes.attempt, postings.post_volumes

    def broken(tree: Tree, update: types_pb2.Update) -> changes.Refusal | None:
        if update.update_id == BAD and midway:
            attempt(tree, update)
        if update.update_id == BAD:
            raise ZeroDivisionError("planted")
        return attempt(tree, update)

    def one_by_one(*arguments: Any) -> int:
        """The kernel leaves every order to be looked at alone."""
        done, in_a_batch = arguments[4:]
        return int(done if in_a_batch else post_volumes(*arguments))

    monkeypatch.setattr(apply, "attempt", broken)
    monkeypatch.setattr(apply, "post_volumes", one_by_one)


class SkippingStream(Stream):
    """One whose hello says what is skipped."""

    async def hello(self, cluster: str = CLUSTER, replaces: Sequence[str] = ()) -> treenode_pb2.ApplyUpdatesResponse:
        hello = treenode_pb2.PusherHello(
            cluster=cluster, log_id=self._pusher.log_id, pusher_address=self._pusher.address, skips=[SKIP]
        )
        hello.founding_rules.CopyFrom(rules_message(FOUNDING))
        return await self.ask(treenode_pb2.ApplyUpdatesRequest(hello=hello, log_end=self._pusher.log_end()))


def digest_without_it(node: TreeNode, updates: list[types_pb2.Update]) -> int:
    tree = Tree.empty(FOUNDING)
    tree.learn_skip(Skip(4, BAD, "ticket 88"))
    tree.apply(1, updates)
    return tree.digest


async def read(node: TreeNode, member_id: str = "A") -> report_pb2.GetMemberResponse:
    async with open_channel(node.address.report) as channel:
        stub = report_pb2_grpc.ReportServiceStub(channel)
        return await stub.GetMember(report_pb2.GetMemberRequest(member_id=member_id), timeout=20)


async def page(node: TreeNode, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{node.address.http}{path}") as answer:
        return answer.status, await answer.text()


async def halted(node: TreeNode, pusher: FakePusher, stream: Stream) -> treenode_pb2.ApplyUpdatesResponse:
    """Sends everything to a node, which halts before update 4."""
    pusher.updates = UPDATES
    await stream.hello()
    return await sent(stream, pusher, range(1, 7))


async def sent(stream: Stream, pusher: FakePusher, positions: range) -> treenode_pb2.ApplyUpdatesResponse:
    """Sends records of which a node may not take all."""
    records = [pusher.record(position) for position in positions]
    return await stream.ask(treenode_pb2.ApplyUpdatesRequest(records=records, log_end=pusher.log_end()))


async def test_a_node_halts_serves_on_and_goes_on_once_the_update_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        async with Stream(node, pusher) as stream:
            answer = await halted(node, pusher, stream)
            assert answer.applied_position == 3
            assert (answer.status.halted_before, answer.status.fault_position) == (4, 4)
            assert "ZeroDivisionError: planted" in answer.status.halt_reason
            assert (await sent(stream, pusher, range(4, 6))).applied_position == 3
            member = await read(node)
            assert member.as_of.position == 3
            status, text = await page(node, "/readyz")
            assert (status, "halted before update 4" in text) == (200, True)
            assert "fasttree_node_halted_before" in (await page(node, "/metrics"))[1]
        pusher.updates.append(types_pb2.Update(update_id="fasttree/skip/4", update_skipped=SKIP))
        async with SkippingStream(node, pusher) as stream:
            assert (await stream.hello()).status.halted_before == 0
            answer = await stream.send(range(4, 8))
            assert answer.applied_position == 7
            rejected = [told for told in answer.outcomes if told.outcome == types_pb2.OUTCOME_REJECTED]
            assert [(told.position, told.reason) for told in rejected] == [(4, "skipped by an operator: ticket 88")]
            assert node.runner.in_force.tree.digest == digest_without_it(node, pusher.updates)
            assert (await page(node, "/readyz"))[1] == "PASSIVE\n"
    async with fake_pusher() as pusher, running_node(tmp_path) as node, SkippingStream(node, pusher) as stream:
        pusher.updates = [*UPDATES, types_pb2.Update(update_id="fasttree/skip/4", update_skipped=SKIP)]
        assert (await stream.hello()).status.position == 7
        assert node.runner.in_force.tree.digest == digest_without_it(node, pusher.updates)


@pytest.mark.parametrize("with_snapshot", [True, False])
async def test_a_tree_that_was_broken_midway_is_made_anew_while_reports_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_snapshot: bool
) -> None:
    plant(monkeypatch, midway=True)
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        pusher.updates = UPDATES
        async with Stream(node, pusher) as stream:
            await stream.hello()
            await stream.send([1, 2])
            if with_snapshot:
                await node.writer.save()
            reads = asyncio.ensure_future(read(node))
            answer = await sent(stream, pusher, range(3, 6))
            await reads
            tree = node.runner.in_force.tree
            tree.validate()
            assert (answer.applied_position, answer.status.halted_before) == (3, 4)
            assert (await read(node)).as_of.position == 3


@pytest.mark.parametrize("with_snapshot", [True, False])
async def test_a_node_of_whose_broken_tree_nothing_can_be_made_anew_does_not_serve_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_snapshot: bool
) -> None:
    plant(monkeypatch, midway=True)
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        pusher.updates = [posted("O-0", "A"), *UPDATES[:3]]
        async with Stream(node, pusher) as stream:
            await stream.hello()
            await stream.send([1])
            if with_snapshot:
                await node.writer.save()  # with what is held, and without a member
            await stream.send([2, 3, 4])
            assert (await page(node, "/readyz"))[0] == 200
            pusher.updates.append(posted(BAD, "A"))
            # The log can't be read just then.
            pusher.damaged_position = 2
            answer = await sent(stream, pusher, range(5, 6))
            assert (answer.status.position, answer.status.halted_before) == (0, 5)
            assert (await page(node, "/readyz"))[0] == 503
            # Records bring it back to where it broke.
            assert (await sent(stream, pusher, range(1, 6))).applied_position == 4
            assert (await read(node)).as_of.position == 4
            status, text = await page(node, "/readyz")
            assert (status, "halted before update 5" in text) == (200, True)


async def test_a_node_that_has_taken_a_skipped_update_joins_anew(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        pusher.updates = [*UPDATES, types_pb2.Update(update_id="fasttree/skip/4", update_skipped=SKIP)]
        async with Stream(node, pusher) as stream:
            await stream.hello()
            assert (await stream.send(range(1, 7))).applied_position == 6
        async with SkippingStream(node, pusher) as stream:
            await stream.hello()
            await until(lambda: node.runner.core.sequence.position == 0, "the node joins anew")
            assert (await stream.send(range(1, 8))).applied_position == 7
            assert node.runner.in_force.tree.digest == digest_without_it(node, pusher.updates)


async def test_an_import_that_the_engine_fails_at_is_refused_and_the_old_tree_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        pusher.updates = UPDATES
        await stream.hello()
        await stream.send(range(1, 7))
        plant(monkeypatch)
        manifest = pusher.add_import(1, FILE, 2)
        responses = await load_import(node, pusher, manifest)
        assert responses[-1].phase == treenode_pb2.IMPORT_PHASE_REFUSED
        assert "update 4" in responses[-1].reason
        assert (await read(node)).as_of.import_id == 0
        assert node.runner.status().fault_position == 4
        assert "can't build a new tree: update 4" in (await page(node, "/readyz"))[1]

        def no_tree(*_: object) -> Tree:
            raise ValueError("planted")

        monkeypatch.setattr(Tree, "from_table", no_tree)
        responses = await load_import(node, pusher, pusher.add_import(2, FILE, 6))
        assert responses[-1].phase == treenode_pb2.IMPORT_PHASE_REFUSED
        assert "a defect of this program: ValueError: planted" in responses[-1].reason
        assert (await read(node)).as_of.import_id == 0


async def test_a_damaged_held_update_that_is_skipped_stands_in_no_import_s_way(tmp_path: Path) -> None:
    held = [posted(f"H-{number}", "Z") for number in range(4)]
    held[3].update_id = BAD
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        pusher.updates = [*held, enrolled("A")]
        pusher.damaged_position = 4
        async with Stream(node, pusher) as stream:
            await stream.hello()
            await stream.send(range(1, 6))
        pusher.updates.append(types_pb2.Update(update_id="fasttree/skip/4", update_skipped=SKIP))
        async with SkippingStream(node, pusher) as stream:
            await stream.hello()
            async with open_channel(node.address.instant) as channel:
                stub = treenode_pb2_grpc.TreeNodeServiceStub(channel)
                fate = await stub.GetUpdateFate(treenode_pb2.GetUpdateFateRequest(position=4))
                assert fate.fate == treenode_pb2.UPDATE_FATE_HELD
            await stream.send([6])
            responses = await load_import(node, pusher, pusher.add_import(1, FILE, 5))
            assert responses[-1].phase == treenode_pb2.IMPORT_PHASE_DONE
            tree = node.runner.in_force.tree
            assert [each.position for each in tree.held()] == [1, 2, 3]
