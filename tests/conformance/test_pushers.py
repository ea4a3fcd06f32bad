"""What a pusher owes to whoever pushes, uploads and reads: the real one, and the fake that stands in for it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import grpc
import grpc.aio
import pytest
from google.rpc import code_pb2

from fasttree.v1 import (
    import_source_pb2,
    import_source_pb2_grpc,
    pusher_pb2,
    pusher_pb2_grpc,
    treenode_pb2,
    types_pb2,
)
from services.shared.files.chunks import make_chunk
from services.shared.rules import rules_message
from services.shared.serving.channels import open_channel
from services.shared.wire.record import check_record
from tests.fakes.import_file import csv_of
from tests.fakes.node import FakeNode
from tests.fakes.pusher import FOUNDING, fake_pusher
from tests.fakes.server import CLUSTER
from tests.pusher.running_pusher import code_of, push, running_pusher
from tests.updates import enrolled, posted
from tests.waiting import until

FILE = csv_of([("A", "", "0.00"), ("B", "A", "10.00")] + [(f"M{number}", "A", "1.00") for number in range(50)])
BAD_FILE = csv_of([("A", "", "0.00"), ("B", "nobody", "0.00")])


class Stubs(NamedTuple):
    """A pusher's two services."""

    pusher: pusher_pb2_grpc.PusherServiceAsyncStub
    source: import_source_pb2_grpc.ImportSourceServiceAsyncStub


@pytest.fixture(params=["fake", "real"])
async def stubs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stubs]:
    """Of a pusher with one node, `n1`."""
    if request.param == "fake":
        async with fake_pusher() as fake, open_channel(fake.address) as channel:
            founded = types_pb2.RulesFounded(rules=rules_message(FOUNDING))
            fake.updates.append(types_pb2.Update(update_id="fasttree/founded", rules_founded=founded))
            yield _stubs(channel)
        return
    node = await FakeNode("n1").start()
    async with (
        running_pusher(tmp_path, [node]) as pusher,
        open_channel(f"127.0.0.1:{pusher.server.port}") as channel,
    ):
        await until(lambda: pusher.fan_out.names.get(node.address) == "n1", "the node's name")
        yield _stubs(channel)
    await node.stop()


def _stubs(channel: grpc.aio.Channel) -> Stubs:
    return Stubs(
        pusher_pb2_grpc.PusherServiceStub(channel),
        import_source_pb2_grpc.ImportSourceServiceStub(channel),
    )


async def upload(
    stubs: Stubs, content: bytes = FILE, name: str = "members.csv", **header: object
) -> types_pb2.ImportManifest:
    async def requests() -> AsyncIterator[pusher_pb2.UploadImportRequest]:
        fields: dict[str, object] = {"file_name": name, "size_bytes": len(content), **header}
        yield pusher_pb2.UploadImportRequest(header=pusher_pb2.UploadImportHeader(**fields))  # type: ignore[arg-type]
        for offset in range(0, len(content), 200):
            yield pusher_pb2.UploadImportRequest(chunk=make_chunk(offset, content[offset : offset + 200]))

    return (await stubs.pusher.UploadImport(requests())).manifest


async def watched(stubs: Stubs, import_id: int = 0) -> list[pusher_pb2.ImportStatus]:
    """Every status until the rollout is over."""
    call = stubs.pusher.WatchImport(pusher_pb2.WatchImportRequest(import_id=import_id))
    return [response.status async for response in call]


async def read(stubs: Stubs, first: int, last: int) -> list[treenode_pb2.LogRecord]:
    call = stubs.pusher.ReadLog(pusher_pb2.ReadLogRequest(first_position=first, last_position=last))
    return [record async for response in call for record in response.records]


async def download(stubs: Stubs, import_id: int, offset: int) -> tuple[types_pb2.ImportManifest, bytes]:
    wanted = import_source_pb2.DownloadImportRequest(import_id=import_id, offset=offset)
    parts = [part async for part in stubs.source.DownloadImport(wanted)]
    content = b""
    for part in parts[1:]:
        assert part.chunk == make_chunk(offset + len(content), part.chunk.data)
        content += part.chunk.data
    return parts[0].manifest, content


async def test_receipts_tell_positions_in_the_order_of_the_updates(stubs: Stubs) -> None:
    updates = [enrolled("A"), posted("O-1", "A"), posted("O-2", "A")]
    receipts = await push(stubs.pusher, updates, batch=2)
    assert [(receipt.update_id, receipt.position, receipt.code) for receipt in receipts] == [
        ("E-A", 2, code_pb2.OK),  # after the rules, which every log begins with
        ("O-1", 3, code_pb2.OK),
        ("O-2", 4, code_pb2.OK),
    ]
    assert not any(receipt.duplicate for receipt in receipts)


async def test_an_id_is_taken_once(stubs: Stubs) -> None:
    await push(stubs.pusher, [posted("O-1", "A", 100), posted("O-2", "A", 100)])
    again, other, new = await push(stubs.pusher, [posted("O-2", "A", 100), posted("O-1", "A", 999), posted("O-3", "A")])
    assert (again.code, again.duplicate, again.position) == (code_pb2.OK, True, 3)
    assert (other.code, other.update_id) == (code_pb2.ALREADY_EXISTS, "O-1")
    assert other.message
    assert (new.code, new.position) == (code_pb2.OK, 4)


async def test_the_same_id_twice_in_one_message(stubs: Stubs) -> None:
    first, second = await push(stubs.pusher, [posted("O-1", "A"), posted("O-1", "A")])
    assert (first.position, second.position, second.duplicate) == (2, 2, True)


async def test_a_malformed_update_is_refused_and_the_others_are_taken(stubs: Stubs) -> None:
    empty, good = await push(stubs.pusher, [types_pb2.Update(update_id="O-1"), posted("O-2", "A")])
    assert (empty.code, empty.update_id) == (code_pb2.INVALID_ARGUMENT, "O-1")
    assert empty.message
    assert (good.code, good.position) == (code_pb2.OK, 2)


async def test_the_log_is_read_with_its_checksums(stubs: Stubs) -> None:
    updates = [posted(f"O-{number}", "A", number) for number in range(1, 8)]
    await push(stubs.pusher, updates)
    records = await read(stubs, 3, 6)
    assert [record.position for record in records] == [3, 4, 5, 6]
    for record in records:
        check_record(record)
        assert types_pb2.Update.FromString(record.update) == updates[record.position - 2]
    for first, last in ((0, 3), (3, 9), (10, 10), (5, 4)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(stubs, first, last)
        assert code_of(caught.value) is grpc.StatusCode.OUT_OF_RANGE


async def test_a_reader_without_an_end_gets_what_comes(stubs: Stubs) -> None:
    call = stubs.pusher.ReadLog(pusher_pb2.ReadLogRequest(first_position=2))
    reading = asyncio.create_task(call.read())
    await push(stubs.pusher, [posted("O-1", "A")])
    response = await reading
    assert isinstance(response, pusher_pb2.ReadLogResponse)
    assert [record.position for record in response.records] == [2]
    call.cancel()


async def test_a_pusher_tells_where_it_stands(stubs: Stubs) -> None:
    await push(stubs.pusher, [posted("O-1", "A"), posted("O-2", "A")])
    answer = await stubs.pusher.GetPusher(pusher_pb2.GetPusherRequest())
    assert (answer.cluster, answer.log_end.first_position, answer.log_end.position) == (CLUSTER, 1, 3)
    assert answer.log_id
    assert [node.node for node in answer.nodes] == ["n1"]
    assert list(answer.imports) == []


async def test_an_import_rolls_out_and_is_in_force(stubs: Stubs) -> None:
    await push(stubs.pusher, [posted("O-1", "B")])
    manifest = await upload(stubs, sha256=hashlib.sha256(FILE).digest())
    assert (manifest.import_id, manifest.file_name, manifest.as_of_position) == (1, "members.csv", 2)
    assert (manifest.size_bytes, manifest.sha256) == (len(FILE), hashlib.sha256(FILE).digest())
    for import_id in (1, 0):
        status = (await watched(stubs, import_id))[-1]
        assert (status.manifest.import_id, status.state) == (1, pusher_pb2.IMPORT_STATE_DONE)
    assert [(told.node, told.progress.phase) for told in status.nodes] == [("n1", treenode_pb2.IMPORT_PHASE_DONE)]
    answer = await stubs.pusher.GetPusher(pusher_pb2.GetPusherRequest())
    assert answer.log_end.import_id == 1
    assert [told.manifest.import_id for told in answer.imports] == [1]


async def test_a_bad_file_is_refused_and_the_import_before_stays_in_force(stubs: Stubs) -> None:
    await upload(stubs)
    await watched(stubs)
    await upload(stubs, BAD_FILE, "worse.csv")
    status = (await watched(stubs))[-1]
    assert (status.manifest.import_id, status.state) == (2, pusher_pb2.IMPORT_STATE_REFUSED)
    (told,) = status.nodes
    assert told.progress.phase == treenode_pb2.IMPORT_PHASE_REFUSED
    assert [(row.line, row.column) for row in told.progress.rejected_rows] == [(3, "sponsor_id")]
    answer = await stubs.pusher.GetPusher(pusher_pb2.GetPusherRequest())
    assert answer.log_end.import_id == 1


@pytest.mark.parametrize(
    ("content", "name", "header", "code"),
    [
        (FILE, "a/b.csv", {}, grpc.StatusCode.INVALID_ARGUMENT),
        (FILE, "a\nb.csv", {}, grpc.StatusCode.INVALID_ARGUMENT),
        (FILE, "", {}, grpc.StatusCode.INVALID_ARGUMENT),
        (b"", "members.csv", {}, grpc.StatusCode.INVALID_ARGUMENT),
        (FILE, "members.csv", {"as_of_position": 7}, grpc.StatusCode.INVALID_ARGUMENT),
        (FILE, "members.csv", {"size_bytes": len(FILE) + 1}, grpc.StatusCode.DATA_LOSS),
        (FILE, "members.csv", {"sha256": bytes(32)}, grpc.StatusCode.DATA_LOSS),
    ],
)
async def test_an_upload_that_is_not_what_it_says(
    stubs: Stubs, content: bytes, name: str, header: dict[str, object], code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await upload(stubs, content, name, **header)
    assert code_of(caught.value) is code
    assert list((await stubs.pusher.GetPusher(pusher_pb2.GetPusherRequest())).imports) == []


async def test_an_import_that_is_not_there(stubs: Stubs) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await watched(stubs, 7)
    assert code_of(caught.value) is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await download(stubs, 7, 0)
    assert code_of(caught.value) is grpc.StatusCode.NOT_FOUND


async def test_rollback_takes_the_file_before(stubs: Stubs) -> None:
    await upload(stubs, FILE, "before.csv")
    await watched(stubs)
    with pytest.raises(grpc.aio.AioRpcError, match="no import before") as caught:
        await stubs.pusher.RollbackImport(pusher_pb2.RollbackImportRequest())
    assert code_of(caught.value) is grpc.StatusCode.FAILED_PRECONDITION
    await upload(stubs, csv_of([("Z", "", "0.00")]), "worse.csv", force=True)
    await watched(stubs)
    manifest = (await stubs.pusher.RollbackImport(pusher_pb2.RollbackImportRequest())).manifest
    assert (manifest.import_id, manifest.file_name, manifest.force) == (3, "before.csv", True)
    assert (await watched(stubs))[-1].state == pusher_pb2.IMPORT_STATE_DONE
    assert (await download(stubs, 3, 0))[1] == FILE


async def test_downloads_go_on_from_any_byte(stubs: Stubs) -> None:
    manifest = await upload(stubs)
    for offset in (0, 77, len(FILE)):
        told, content = await download(stubs, 1, offset)
        told.carried_known = False  # a node may have loaded it by now
        assert (told, content) == (manifest, FILE[offset:])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await download(stubs, 1, len(FILE) + 1)
    assert code_of(caught.value) is grpc.StatusCode.OUT_OF_RANGE


async def test_a_profile_that_is_not_kept(stubs: Stubs) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="there is no profile office") as caught:
        await stubs.pusher.GetImportProfile(pusher_pb2.GetImportProfileRequest(name="office"))
    assert code_of(caught.value) is grpc.StatusCode.INVALID_ARGUMENT
