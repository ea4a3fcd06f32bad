"""Imports over real gRPC: uploads, the watched folder, rollout, rollback, what is kept."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from fasttree.v1 import import_source_pb2, import_source_pb2_grpc, pusher_pb2, pusher_pb2_grpc, treenode_pb2, types_pb2
from services.pusher.app import Pusher
from services.pusher.imports.files import ImportFiles
from services.pusher.log.memory import MemoryLog
from services.pusher.log.sqlite import SqliteLog
from services.shared.files.chunks import make_chunk
from services.shared.serving.channels import open_channel
from services.shared.serving.errors import InvalidArgumentError
from tests.fakes.node import FakeNode
from tests.pusher.running_pusher import push, running_pusher, stub_of
from tests.pusher.updates import orders
from tests.waiting import until

#: More than one chunk.
FILE = b"member_id,sponsor_id\n" + b"".join(b"M%d,%s\n" % (n, b"M0" if n else b"") for n in range(80_000))
BAD_FILE = b"member_id,sponsor_id\nM0,\nM1,M9\n"


@pytest.fixture
async def nodes() -> AsyncIterator[list[FakeNode]]:
    started = [await FakeNode("one").start(), await FakeNode("two").start()]
    yield started
    for node in started:
        await node.stop()


async def upload(
    stub: pusher_pb2_grpc.PusherServiceAsyncStub, data: bytes = FILE, name: str = "members.csv", **header: object
) -> types_pb2.ImportManifest:
    """Uploads a file in chunks."""

    async def requests() -> AsyncIterator[pusher_pb2.UploadImportRequest]:
        fields: dict[str, object] = {"file_name": name, "size_bytes": len(data), **header}
        yield pusher_pb2.UploadImportRequest(header=pusher_pb2.UploadImportHeader(**fields))  # type: ignore[arg-type]
        for offset in range(0, len(data), 1 << 19):
            yield pusher_pb2.UploadImportRequest(chunk=make_chunk(offset, data[offset : offset + (1 << 19)]))

    return (await stub.UploadImport(requests())).manifest


async def ended(stub: pusher_pb2_grpc.PusherServiceAsyncStub, import_id: int = 0) -> pusher_pb2.ImportStatus:
    """The import once its rollout is over."""
    status = pusher_pb2.ImportStatus()
    async for response in stub.WatchImport(pusher_pb2.WatchImportRequest(import_id=import_id)):
        status = response.status
    return status


async def connected(pusher: Pusher, count: int = 2) -> None:
    """Waits for the nodes' streams."""
    nodes = pusher.fan_out.core.nodes
    await until(lambda: sum(node.connected for node in nodes.values()) == count, f"{count} streams")


async def test_an_import_goes_to_every_node_one_after_another(tmp_path: Path, nodes: list[FakeNode]) -> None:
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await connected(pusher)
        await push(stub, orders(0, 7))
        manifest = await upload(stub, sha256=hashlib.sha256(FILE).digest())
        assert (manifest.import_id, manifest.size_bytes, manifest.as_of_position) == (1, len(FILE), 8)
        assert manifest.format == types_pb2.IMPORT_FORMAT_CSV
        assert manifest.sha256 == hashlib.sha256(FILE).digest()
        status = await ended(stub)
        assert status.state == pusher_pb2.IMPORT_STATE_DONE
        assert {entry.node for entry in status.nodes} == {"one", "two"}
        assert {entry.progress.phase for entry in status.nodes} == {treenode_pb2.IMPORT_PHASE_DONE}
        assert [node.files[1] for node in nodes] == [FILE, FILE]
        own = f"127.0.0.1:{pusher.server.port}"
        assert list(nodes[0].loads[0].sources) == [own]
        assert list(nodes[1].loads[0].sources) == [nodes[0].address, own]
        await until(lambda: all(node.log_end.import_id == 1 for node in nodes), "the import in the log's end")


async def test_a_bad_file_stops_at_the_first_node_and_says_why(tmp_path: Path, nodes: list[FakeNode]) -> None:
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await connected(pusher)
        await upload(stub, BAD_FILE)
        status = await ended(stub)
        assert status.state == pusher_pb2.IMPORT_STATE_REFUSED
        assert status.nodes[0].progress.rejected_rows[0].reason == 'the sponsor "M9" is not in the file'
        assert nodes[1].loads == []
        assert pusher.fan_out.log_end().import_id == 0
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        again = await ended(stub)
        assert again.state == pusher_pb2.IMPORT_STATE_REFUSED
        assert again.nodes[0].progress.rejected_count == 1  # still known after a restart


async def test_what_the_first_node_carries_goes_to_the_others(tmp_path: Path, nodes: list[FakeNode]) -> None:
    for node in nodes:
        node.tree.members.update({f"M{number}": ("", number) for number in (0, 2, 3, 5, 6)})  # 1 and 4 come too early
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await connected(pusher)
        await push(stub, orders(0, 7))
        nodes[0].carried_holds = [types_pb2.CarriedHold(position=6, member_id="M4", removed_position=1)]
        removals = [types_pb2.CarriedRemoval(member_id="M9", position=2)]
        nodes[0].carried_removals = removals
        await upload(stub, as_of_position=7)
        status = await ended(stub)
        (told,) = (await stub.GetPusher(pusher_pb2.GetPusherRequest())).imports
    # Nodes have to know of them, nobody else has: they may be many.
    assert list(nodes[1].loads[0].manifest.carried_removals) == removals
    for each in (status, told):
        assert not each.manifest.carried_removals
        assert not any(node.progress.carried_removals for node in each.nodes)
    holds = [types_pb2.CarriedHold(position=6, member_id="M4", removed_position=1)]
    for manifest in (nodes[1].loads[0].manifest, status.manifest):
        assert list(manifest.carried_positions) == [3, 6]
        assert list(manifest.carried_holds) == holds
    async with running_pusher(tmp_path, nodes) as pusher:
        # Still known after a restart.
        assert list(pusher.catalog.status(1).manifest.carried_holds) == holds
        assert list(pusher.catalog.status(1).manifest.carried_removals) == removals


async def test_a_node_that_dies_in_between_is_tried_again(tmp_path: Path, nodes: list[FakeNode]) -> None:
    nodes[0].dies_of = {1: 1}
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await connected(pusher)
        await upload(stub)
        assert (await ended(stub)).state == pusher_pb2.IMPORT_STATE_DONE
        assert [node.import_id for node in nodes] == [1, 1]


async def test_a_node_that_comes_later_gets_the_import_in_force(tmp_path: Path, nodes: list[FakeNode]) -> None:
    await nodes[1].stop()
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await connected(pusher, 1)
        await push(stub, orders(0, 20))
        await upload(stub)
        assert (await ended(stub)).state == pusher_pb2.IMPORT_STATE_DONE
        await nodes[1].start()
        await until(lambda: nodes[1].import_id == 1 and nodes[1].position == 21, "the import on the late node")


async def test_a_rollout_goes_on_after_a_restart_of_the_pusher(tmp_path: Path, nodes: list[FakeNode]) -> None:
    for node in nodes:
        await node.stop()
    store = SqliteLog(tmp_path).claim_alone()
    store.vouched_for = True  # nodes that are away say nothing of their past
    async with running_pusher(tmp_path, nodes, store) as pusher, stub_of(pusher) as stub:
        await upload(stub)
        assert pusher.catalog.status(1).state == pusher_pb2.IMPORT_STATE_WAITING
    for node in nodes:
        await node.start()
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        assert (await ended(stub)).state == pusher_pb2.IMPORT_STATE_DONE


async def test_rollback_takes_the_file_before_with_the_updates_since(tmp_path: Path, nodes: list[FakeNode]) -> None:
    for node in nodes:
        node.tree.members.update({f"M{number}": ("", number) for number in (1, 2, 3, 4)})  # order-0 comes too early
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await connected(pusher)
        await push(stub, orders(0, 5))
        await upload(stub, FILE, as_of_position=4)
        await ended(stub)
        with pytest.raises(grpc.aio.AioRpcError, match="no import before") as caught:
            await stub.RollbackImport(pusher_pb2.RollbackImportRequest())
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        await upload(stub, b"member_id\nZ\n", name="worse.csv")
        await ended(stub)
        manifest = (await stub.RollbackImport(pusher_pb2.RollbackImportRequest())).manifest
        assert (manifest.import_id, manifest.as_of_position, manifest.force) == (3, 4, True)
        assert list(manifest.carried_positions) == [2]
        assert (await ended(stub)).state == pusher_pb2.IMPORT_STATE_DONE
        assert nodes[1].files[3] == FILE


async def test_an_export_that_was_overtaken_is_refused(tmp_path: Path, nodes: list[FakeNode]) -> None:
    """What was held when it was taken may be in the newer tree by now, and would be lost."""
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await connected(pusher)
        await push(stub, orders(0, 5))
        await upload(stub, FILE, as_of_position=4)
        await ended(stub)
        with pytest.raises(grpc.aio.AioRpcError, match="overtaken") as caught:
            await upload(stub, FILE, as_of_position=3)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert (await upload(stub, FILE, as_of_position=4)).import_id == 2


@pytest.mark.parametrize(
    ("name", "data", "header", "code"),
    [
        ("../members.csv", FILE, {}, grpc.StatusCode.INVALID_ARGUMENT),
        ("", FILE, {}, grpc.StatusCode.INVALID_ARGUMENT),
        ("a\x1b[2J.csv", FILE, {}, grpc.StatusCode.INVALID_ARGUMENT),
        ("members.csv", b"", {}, grpc.StatusCode.INVALID_ARGUMENT),
        ("members.csv", FILE, {"size_bytes": 10}, grpc.StatusCode.DATA_LOSS),
        ("members.csv", FILE, {"size_bytes": len(FILE) + 1}, grpc.StatusCode.DATA_LOSS),
        ("members.csv", FILE, {"sha256": bytes(32)}, grpc.StatusCode.DATA_LOSS),
        ("members.csv", FILE, {"sha256": b"short"}, grpc.StatusCode.INVALID_ARGUMENT),
        ("members.csv", FILE, {"as_of_position": 2}, grpc.StatusCode.INVALID_ARGUMENT),
        ("members.csv", FILE, {"size_bytes": 1 << 62}, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_an_upload_that_is_not_what_it_says_leaves_nothing(
    tmp_path: Path, name: str, data: bytes, header: dict[str, object], code: grpc.StatusCode
) -> None:
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await upload(stub, data, name, **header)
        assert caught.value.code() is code
        assert pusher.catalog.newest(1) == []
        left = [file for file in (tmp_path / "imports").rglob("*") if file.is_file()]
        assert left == []


@pytest.mark.parametrize("number", [9, -1])
async def test_a_format_that_is_none_is_refused_before_anything_is_kept(tmp_path: Path, number: int) -> None:
    files = ImportFiles(tmp_path, bytes_max=1 << 20)
    header = pusher_pb2.UploadImportHeader(file_name="a.csv", size_bytes=10)
    header.format = number  # type: ignore[assignment]

    async def chunks() -> AsyncIterator[pusher_pb2.UploadImportRequest]:
        yield pusher_pb2.UploadImportRequest(chunk=make_chunk(0, b"member_id\n"))

    with pytest.raises(InvalidArgumentError, match=f"format {number} is none of IMPORT_FORMAT_UNSPECIFIED"):
        await files.receive(header, chunks())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_formats_are_found_from_the_first_bytes(tmp_path: Path) -> None:
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        gzipped = await upload(stub, gzip.compress(FILE), "members")
        parquet = await upload(stub, b"PAR1 and more", "members")
        assert gzipped.format == types_pb2.IMPORT_FORMAT_CSV_GZIP
        assert parquet.format == types_pb2.IMPORT_FORMAT_PARQUET
        assert [status.state for status in pusher.catalog.newest(2)] == [
            pusher_pb2.IMPORT_STATE_WAITING,
            pusher_pb2.IMPORT_STATE_WAITING,
        ]


async def test_downloads_go_on_from_any_offset(tmp_path: Path) -> None:
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        await upload(stub)
        async with open_channel(f"127.0.0.1:{pusher.server.port}") as channel:
            source = import_source_pb2_grpc.ImportSourceServiceStub(channel)

            async def download(import_id: int, offset: int) -> bytes:
                data, expected = b"", offset
                async for part in source.DownloadImport(
                    import_source_pb2.DownloadImportRequest(import_id=import_id, offset=offset)
                ):
                    if part.HasField("chunk"):
                        assert part.chunk.offset == expected
                        expected += len(part.chunk.data)
                        data += part.chunk.data
                return data

            assert await download(1, 0) == FILE
            assert await download(1, 777_777) == FILE[777_777:]
            assert await download(1, len(FILE)) == b""
            for import_id, offset, code in (
                (2, 0, grpc.StatusCode.NOT_FOUND),
                (1, len(FILE) + 1, grpc.StatusCode.OUT_OF_RANGE),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await download(import_id, offset)
                assert caught.value.code() is code


async def test_files_in_the_watched_folder_are_taken(tmp_path: Path, nodes: list[FakeNode]) -> None:
    spool = tmp_path / "spool"
    settings: dict[str, Any] = {"upload_folder": str(spool), "upload_poll_s": 0.02, "upload_marker_settle_s": 0.05}
    async with running_pusher(tmp_path, nodes, **settings) as pusher, stub_of(pusher) as stub:
        await connected(pusher)
        await push(stub, orders(0, 4))
        (spool / "members.csv").write_bytes(FILE)
        (spool / "still-growing.csv").write_bytes(b"member_id\n")
        (spool / "members.csv.done").write_text("4\n")
        result = spool / "done" / "members.csv.result.txt"
        await until(lambda: result.exists() and "done" in result.read_text(), "the result text")
        assert pusher.catalog.status(1).manifest.as_of_position == 4
        assert (spool / "done" / "members.csv").read_bytes() == FILE
        assert sorted(file.name for file in spool.iterdir() if file.is_file()) == ["still-growing.csv"]


async def test_a_file_that_stays_the_same_is_taken_without_a_marker(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    settings: dict[str, Any] = {"upload_folder": str(spool), "upload_poll_s": 0.02, "upload_stable_s": 0.1}
    async with running_pusher(tmp_path, **settings) as pusher:
        (spool / "members.csv").write_bytes(FILE)
        (spool / "a\x1b[2J.csv").write_bytes(FILE)
        await until(lambda: (spool / "done" / "members.csv.result.txt").exists(), "the file")
        refused = spool / "refused" / "a__2J.csv.result.txt"
        await until(refused.exists, "the refusal")
        assert "file_name" in refused.read_text()
        assert pusher.catalog.status(0).manifest.file_name == "members.csv"


async def test_a_file_that_was_being_taken_when_the_pusher_died_keeps_its_position(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    settings: dict[str, Any] = {"upload_folder": str(spool), "upload_poll_s": 0.02}
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(0, 9))
    spool.mkdir()
    (spool / ".taking-5-members.csv").write_bytes(FILE)
    async with running_pusher(tmp_path, **settings) as pusher:
        await until(lambda: (spool / "done" / "members.csv").exists(), "the file")
        assert pusher.catalog.status(0).manifest.as_of_position == 5


async def test_old_files_and_records_go_when_nothing_needs_them(tmp_path: Path, nodes: list[FakeNode]) -> None:
    now = [1000.0]
    store = MemoryLog(clock=lambda: now[0]).claim_alone()
    settings: dict[str, Any] = {"imports_kept": 2, "retention_age_s": 0.0}
    for node in nodes:
        node.tree.members.update({f"M{number}": ("", number) for number in range(10)})  # nothing has to be carried
    async with running_pusher(tmp_path, nodes, store=store, **settings) as pusher, stub_of(pusher) as stub:
        await connected(pusher)
        for number in range(1, 5):
            await push(stub, orders(number * 100, 10))
            await upload(stub, b"member_id\n" + b"".join(b"M%d\n" % member for member in range(10)), f"{number}.csv")
            await ended(stub)
        await until(
            lambda: all(node.applied_position == 41 for node in pusher.fan_out.core.nodes.values()), "the nodes"
        )
        await pusher.retention.look()
        kept = sorted(file.name for file in (tmp_path / "imports").iterdir() if file.is_file())
        assert kept == ["000003-3.csv", "000004-4.csv"]
        assert store.ends().first == 32  # what import 3 needs for a rollback


async def test_the_log_stays_whole_until_a_node_has_taken_an_import(tmp_path: Path) -> None:
    """A file that nobody has taken may turn out bad: a new node could not be built from it."""
    now = [1000.0]
    store = MemoryLog(clock=lambda: now[0]).claim_alone()
    async with running_pusher(tmp_path, [], store=store, retention_age_s=0.0) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(0, 10))
        await upload(stub, FILE)
        now[0] += 100.0
        await push(stub, orders(100, 10))
        await pusher.retention.look()
        assert store.ends().first == 1


async def test_a_rollback_to_a_damaged_file_is_refused(tmp_path: Path, nodes: list[FakeNode]) -> None:
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await connected(pusher)
        for number in (1, 2):
            await upload(stub, f"member_id\n{number}\n".encode(), f"{number}.csv")
            await ended(stub)
    file = tmp_path / "imports" / "000001-1.csv"
    for content, said in ((b"member_id\n7\n", "is damaged"), (None, "is no longer kept")):
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
            with pytest.raises(grpc.aio.AioRpcError, match=f"the file of import 1 {said}") as caught:
                await stub.RollbackImport(pusher_pb2.RollbackImportRequest())
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert pusher.catalog.newest(1)[0].manifest.import_id == 2


async def test_a_file_that_can_not_be_copied_leaves_nothing(tmp_path: Path) -> None:
    files = ImportFiles(tmp_path / "imports", 1 << 20)

    def left() -> list[str]:
        return [path.name for path in (tmp_path / "imports").rglob("*") if path.is_file()]

    with pytest.raises(OSError, match="nowhere"):
        await files.copy_in(tmp_path / "nowhere.csv", "nowhere.csv")
    assert left() == []
    (tmp_path / "members.csv").write_bytes(FILE[:1000])
    part, manifest = await files.copy_in(tmp_path / "members.csv", "members.csv")
    assert (manifest.size_bytes, manifest.sha256) == (1000, hashlib.sha256(FILE[:1000]).digest())
    assert await asyncio.to_thread(part.read_bytes) == FILE[:1000]
    files.remove_leftovers()  # a start: who sent it begins anew
    assert left() == []
