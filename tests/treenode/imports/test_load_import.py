"""Imports on a real node: good ones, bad ones, interrupted ones, and what is on top of the file."""

import asyncio
import hashlib
from pathlib import Path

import grpc
import pytest

from fasttree.v1 import import_source_pb2, import_source_pb2_grpc, treenode_pb2, types_pb2
from services.shared.serving.channels import open_channel
from services.treenode.app import TreeNode
from services.treenode.node.lifecycle import NodeState
from tests.fakes.import_file import csv_of
from tests.fakes.pusher import FakePusher, fake_pusher
from tests.fakes.pusher_stream import Stream
from tests.treenode.running_node import load_import, running_node
from tests.treenode.tree.reads import row_of
from tests.updates import enrolled, posted, removed
from tests.waiting import until

DONE = treenode_pb2.IMPORT_PHASE_DONE
REFUSED = treenode_pb2.IMPORT_PHASE_REFUSED
FILE = csv_of([("A", "", "10.00"), ("B", "A", "5.50"), ("C", "A", "0.00"), ("D", "B", "1.00")])


async def fed(node: TreeNode, pusher: FakePusher, stream: Stream, updates: list[types_pb2.Update]) -> None:
    """Appends the updates to the log and sends them to the node."""
    first = len(pusher.updates) + 1
    pusher.updates += updates
    answer = await stream.send(range(first, len(pusher.updates) + 1))
    assert answer.applied_position == len(pusher.updates)


def totals(node: TreeNode, member_id: str) -> tuple[int, int]:
    """(personal, group) volume of a member in hundredths."""
    tree = node.runner.in_force.tree
    row = row_of(tree, member_id)
    return int(tree.store.personal[0, row]), int(tree.store.sponsor.group[0, row])


async def test_the_first_import_of_a_new_cluster(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        await stream.hello()
        responses = await load_import(node, pusher, pusher.add_import(1, FILE, 0))
        last = responses[-1]
        assert (last.phase, last.rows, last.status.import_id) == (DONE, 4, 1)
        assert list(last.carried_positions) == []
        assert not last.HasField("reconciliation")
        phases = [response.phase for response in responses]
        assert phases == sorted(phases)
        assert set(phases) >= {1, 2, 3, 4, 5}
        assert totals(node, "A") == (1000, 1650)
        pusher.import_id = 1
        await fed(node, pusher, stream, [posted("O-1", "D", 250)])
        assert totals(node, "A") == (1000, 1900)
        assert node.runner.core.state is NodeState.PASSIVE


async def test_the_pusher_hears_at_once_of_a_tree_that_the_node_took(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        await stream.hello()
        await load_import(node, pusher, pusher.add_import(1, FILE, 0))
        told = await stream.read()  # without a message of the pusher before it
        assert (told.status.import_id, told.status.position, told.applied_position) == (1, 0, 0)


async def test_updates_after_the_files_position_come_on_top_of_it(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        await stream.hello()
        await fed(node, pusher, stream, [enrolled("A"), enrolled("B", "A"), posted("O-1", "B", 550)])
        # The file holds the effect of the first three; the next three came while it was exported.
        await fed(node, pusher, stream, [posted("O-2", "B", 100), enrolled("E", "B"), posted("O-3", "E", 7)])
        assert (await load_import(node, pusher, pusher.add_import(1, FILE, 3)))[-1].phase == DONE
        assert node.runner.in_force.tree.position == 6
        assert totals(node, "B") == (650, 757)
        assert node.runner.in_force.tree.member_count == 5


async def test_what_was_held_when_the_file_was_taken_is_carried_over(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path / "1") as node, Stream(node, pusher) as stream:
        await stream.hello()
        updates = [
            enrolled("A"),
            posted("O-1", "D", 300),  # D is in the file: applied on top of it
            posted("O-2", "Z", 40),  # still unknown: held in the new tree too
            posted("O-3", "E", 5),  # resolved after the file's position, by the next
            enrolled("E", "A"),
        ]
        await fed(node, pusher, stream, updates)
        manifest = pusher.add_import(1, FILE, 4)
        last = (await load_import(node, pusher, manifest))[-1]
        assert list(last.carried_positions) == [2, 3, 4]
        assert totals(node, "D") == (400, 400)
        assert totals(node, "E") == (5, 5)
        assert [held.position for held in node.runner.in_force.tree.held()] == [3]
        # Asked again, it answers at once with the same positions, also after a restart.
        assert list((await load_import(node, pusher, manifest))[-1].carried_positions) == [2, 3, 4]
        # A second node has them from the manifest, whatever it held itself.
        manifest.carried_positions[:] = last.carried_positions
        pusher.import_id = 1
        async with running_node(tmp_path / "2", name="n2") as second, Stream(second, pusher) as other:
            await other.hello()
            assert (await load_import(second, pusher, manifest))[-1].phase == DONE
            await until(lambda: second.runner.core.sequence.position == 4, "the base")
            await other.send(range(1, 6))
            assert second.runner.in_force.tree.digest == node.runner.in_force.tree.digest
            assert second.runner.core.state is NodeState.PASSIVE
    async with running_node(tmp_path / "1") as node:
        assert list((await load_import(node, pusher, manifest))[-1].carried_positions) == [2, 3, 4]


async def test_what_was_held_for_a_removed_member_is_nobody_elses_in_the_new_tree(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path / "1") as node, Stream(node, pusher) as stream:
        await stream.hello()
        updates = [
            enrolled("A"),
            enrolled("D", "A"),
            removed("D"),
            posted("R-1", "D", -300),  # a return of who was D
            enrolled("D", "A"),  # somebody else, who is in the file
        ]
        await fed(node, pusher, stream, updates)
        manifest = pusher.add_import(1, FILE, 5)
        last = (await load_import(node, pusher, manifest))[-1]
        assert list(last.carried_positions) == [4]
        hold = types_pb2.CarriedHold(position=4, member_id="D", removed_position=3)
        assert list(last.carried_holds) == [hold]
        assert totals(node, "D") == (100, 100)
        assert list((await load_import(node, pusher, manifest))[-1].carried_holds) == [hold]
        # A second node, which never knew of the first D, has it from the manifest.
        manifest.carried_positions[:] = last.carried_positions
        manifest.carried_holds.append(hold)
        pusher.import_id = 1
        retry = types_pb2.HeldSettled(action=types_pb2.HELD_ACTION_RETRY, position=4, reason="the same person")
        async with running_node(tmp_path / "2", name="n2") as second, Stream(second, pusher) as other:
            await other.hello()
            assert (await load_import(second, pusher, manifest))[-1].phase == DONE
            await until(lambda: second.runner.core.sequence.position == 5, "the base")
            assert totals(second, "D") == (100, 100)
            assert second.runner.in_force.tree.digest == node.runner.in_force.tree.digest
            await fed(node, pusher, stream, [types_pb2.Update(update_id="settle", held_settled=retry)])
            await other.send(range(6, 7))
            assert totals(second, "D") == totals(node, "D") == (-200, -200)
            assert second.runner.in_force.tree.digest == node.runner.in_force.tree.digest


async def test_a_removal_before_the_import_is_known_after_it(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path / "1") as node, Stream(node, pusher) as stream:
        await stream.hello()
        await fed(node, pusher, stream, [enrolled("A"), enrolled("Z", "A"), removed("Z"), enrolled("D"), removed("D")])
        manifest = pusher.add_import(1, FILE, 5)
        last = (await load_import(node, pusher, manifest))[-1]
        removal = types_pb2.CarriedRemoval(member_id="Z", position=3)
        assert list(last.carried_removals) == [removal]  # D is in the file
        assert list((await load_import(node, pusher, manifest))[-1].carried_removals) == [removal]
        manifest.carried_removals.append(removal)
        pusher.import_id = 1
        async with running_node(tmp_path / "2", name="n2") as second, Stream(second, pusher) as other:
            await other.hello()
            assert (await load_import(second, pusher, manifest))[-1].phase == DONE
            await until(lambda: second.runner.core.sequence.position == 5, "the base")
            assert second.runner.in_force.tree.digest == node.runner.in_force.tree.digest
            await fed(node, pusher, stream, [posted("R-1", "Z", -300), enrolled("Z", "A")])
            await other.send(range(6, 8))
            for each in (node, second):
                assert totals(each, "Z") == (0, 0)
                assert [held.position for held in each.runner.in_force.tree.held()] == [6]
            assert second.runner.in_force.tree.digest == node.runner.in_force.tree.digest


BAD_FILES = {
    "orphan": csv_of([("A", "", "1.00"), ("B", "X", "1.00")]),
    "twice": csv_of([("A", "", "1.00"), ("A", "", "1.00")]),
    "cycle": csv_of([("A", "B", "1.00"), ("B", "A", "1.00")]),
    "number": csv_of([("A", "", "much")]),
    "empty": csv_of([]),
    "binary": bytes(range(256)) * 4,
}


@pytest.mark.parametrize("name", BAD_FILES)
async def test_a_bad_file_is_refused_by_row_and_leaves_everything_as_it_was(tmp_path: Path, name: str) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        await stream.hello()
        await fed(node, pusher, stream, [enrolled("A"), posted("O-1", "A", 5)])
        before = (node.runner.in_force.tree, node.runner.in_force.tree.digest, node.runner.core.state)
        last = (await load_import(node, pusher, pusher.add_import(1, BAD_FILES[name], 2)))[-1]
        assert last.phase == REFUSED
        assert last.rejected_count >= 1
        assert last.rejected_rows[0].reason
        assert last.reason.startswith("import refused:")
        assert (node.runner.in_force.tree, node.runner.in_force.tree.digest, node.runner.core.state) == before
        assert node.runner.loading == (0, 0)
        await fed(node, pusher, stream, [posted("O-2", "A", 6)])
        # A good file after it is taken.
        assert (await load_import(node, pusher, pusher.add_import(2, FILE, 3)))[-1].phase == DONE


async def test_an_import_too_different_is_refused_unless_forced(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        await stream.hello()
        await load_import(node, pusher, pusher.add_import(1, FILE, 0))
        smaller = csv_of([("A", "", "10.00"), ("B", "A", "5.50"), ("D", "A", "1.00"), ("F", "A", "2.00")])
        manifest = pusher.add_import(2, smaller, 0)
        last = (await load_import(node, pusher, manifest))[-1]
        assert last.phase == REFUSED
        assert "removes 1 of 4 members" in last.reason
        assert "--force" in last.reason
        assert node.runner.core.sequence.import_id == 1
        manifest.force = True
        last = (await load_import(node, pusher, manifest))[-1]
        assert last.phase == DONE
        figures = last.reconciliation
        assert (figures.members_added, figures.members_removed, figures.members_moved) == (1, 1, 1)
        assert (figures.members_before, figures.members_after) == (4, 4)


async def test_what_another_node_took_is_taken_here_whatever_it_changes(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        await stream.hello()
        await load_import(node, pusher, pusher.add_import(1, FILE, 0))
        pusher.import_id = 2
        await stream.send([])
        assert (await load_import(node, pusher, pusher.add_import(2, csv_of([("Q", "", "1.00")]), 0)))[-1].phase == DONE


async def test_a_download_goes_on_where_it_was_cut_and_falls_back_to_the_next_source(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        await stream.hello()
        manifest = pusher.add_import(1, FILE, 0)
        pusher.cut_after_bytes = 64
        last = (await load_import(node, pusher, manifest, ["127.0.0.1:1", pusher.address]))[-1]
        assert last.phase == DONE
        assert pusher.sent_bytes == len(FILE)


async def test_a_file_that_is_not_what_was_announced_is_never_read(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        await stream.hello()
        manifest = pusher.add_import(1, FILE, 0)
        announced = types_pb2.ImportManifest()
        announced.CopyFrom(manifest)
        announced.sha256 = hashlib.sha256(b"other").digest()
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await load_import(node, pusher, announced)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "SHA-256" in (error.value.details() or "")
        assert [path for path in (tmp_path / "imports").rglob("*") if path.is_file()] == []
        assert node.runner.core.sequence.import_id == 0


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("import_id", 0, grpc.StatusCode.INVALID_ARGUMENT),
        ("sha256", b"short", grpc.StatusCode.INVALID_ARGUMENT),
        ("file_name", "../etc/passwd", grpc.StatusCode.INVALID_ARGUMENT),
        ("size_bytes", 1 << 60, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("size_bytes", 0, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_a_manifest_that_can_not_be(tmp_path: Path, field: str, value: object, code: grpc.StatusCode) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        manifest = pusher.add_import(1, FILE, 0)
        setattr(manifest, field, value)
        if field == "import_id":
            # Nothing is older than the empty tree's import: answered as had.
            assert (await load_import(node, pusher, manifest))[-1].phase == DONE
            return
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await load_import(node, pusher, manifest)
        assert error.value.code() is code
        assert [path for path in (tmp_path / "imports").rglob("*") if path.is_file()] == []


async def test_peers_serve_the_file_from_any_offset(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path / "1") as node, Stream(node, pusher) as stream:
        await stream.hello()
        manifest = pusher.add_import(1, FILE, 0)
        await load_import(node, pusher, manifest)
        async with open_channel(node.address.instant) as channel:
            stub = import_source_pb2_grpc.ImportSourceServiceStub(channel)
            parts = [
                part
                async for part in stub.DownloadImport(import_source_pb2.DownloadImportRequest(import_id=1, offset=7))
            ]
            assert parts[0].manifest.sha256 == manifest.sha256
            assert b"".join(part.chunk.data for part in parts[1:]) == FILE[7:]
            for request, code in (
                (import_source_pb2.DownloadImportRequest(import_id=2), grpc.StatusCode.NOT_FOUND),
                (import_source_pb2.DownloadImportRequest(import_id=1, offset=9999), grpc.StatusCode.OUT_OF_RANGE),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    async for _ in stub.DownloadImport(request):
                        pass
                assert error.value.code() is code
        pusher.files.clear()
        async with running_node(tmp_path / "2", name="n2") as second:
            last = (await load_import(second, pusher, manifest, [pusher.address, node.address.instant]))[-1]
            assert last.phase == DONE
            assert second.runner.in_force.tree.digest == node.runner.in_force.tree.digest


async def test_updates_go_on_while_an_import_loads_and_none_is_lost(tmp_path: Path) -> None:
    members = [(f"M{number}", f"M{(number - 1) // 3}" if number else "", "1.00") for number in range(5_000)]
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        await stream.hello()
        await load_import(node, pusher, pusher.add_import(1, csv_of(members), 0))
        loading = asyncio.create_task(load_import(node, pusher, pusher.add_import(2, csv_of(members), 0)))
        number = 0
        while not loading.done():
            number += 1
            await fed(node, pusher, stream, [posted(f"O-{number}", f"M{number % 5_000}", 1)])
            await asyncio.sleep(0.005)
        assert (await loading)[-1].phase == DONE
        assert number > 10
        assert totals(node, "M0")[1] == 5_000 * 100 + number
        assert node.runner.in_force.tree.position == number
        node.runner.in_force.tree.validate()


async def test_a_caller_that_goes_away_ends_the_loading(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        await stream.hello()
        loading = asyncio.create_task(load_import(node, pusher, pusher.add_import(1, FILE, 0)))
        await until(lambda: node.runner.loading[0] == 1, "the loading to begin")
        loading.cancel()
        await asyncio.wait({loading})
        await until(lambda: node.runner.loading == (0, 0), "the loading to end")
        assert node.runner.core.sequence.import_id == 0
        assert (await load_import(node, pusher, pusher.files[1][0]))[-1].phase == DONE
