"""Updates, uploads and calls between services that no honest client sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

import grpc
import grpc.aio

from bench.attack.target import NotHeldOffError, Target, only, outcomes, refused
from fasttree.v1 import pusher_pb2, treenode_pb2, types_pb2

_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


async def _push(target: Target, updates: list[types_pb2.Update]) -> list[pusher_pb2.Receipt]:
    """The receipts of updates in one message."""

    async def requests() -> AsyncIterator[pusher_pb2.PushUpdatesRequest]:
        yield pusher_pb2.PushUpdatesRequest(updates=updates, ack_level=pusher_pb2.ACK_LEVEL_ALL_NODES)

    answers = target.pusher.PushUpdates(requests(), timeout=60)
    return [receipt async for answer in answers for receipt in answer.receipts]


def _changed(number: int, columns: dict[str, str]) -> types_pb2.Update:
    changed = types_pb2.MemberChanged(member_id="1", columns=columns)
    return types_pb2.Update(update_id=f"attack-{number}", member_changed=changed)


async def wide_updates(target: Target) -> str:
    """One update of a million columns, and a thousand of eight hundred each."""
    many = {f"c{number}": "1" for number in range(target.count(1_000_000))}
    some = {f"c{number}": "1" for number in range(800)}
    for updates in ([_changed(0, many)], [_changed(number, some) for number in range(target.count(1_000))]):
        try:
            receipts = await _push(target, updates)
        except grpc.aio.AioRpcError as error:
            # The message is too large as a whole.
            only([error.code()], _INVALID, _EXHAUSTED, what=f"{len(updates)} wide updates")
            continue
        if any(receipt.code == 0 and receipt.outcome == types_pb2.OUTCOME_APPLIED for receipt in receipts):
            raise NotHeldOffError("an update with columns that nobody declared was applied")
    return "none applied"


async def texts(target: Target) -> str:
    """Values that a parser, a terminal or a log would trip over: none is applied."""
    bad = ("\x1b]0;x\x07", "a\nb" + "\x00", "\u202etxt", "9" * 10_000, "\x9b31m", "\x7f")
    updates = [
        types_pb2.Update(update_id=f"text-{number}", member_changed=types_pb2.MemberChanged(member_id="1", status=text))
        for number, text in enumerate(bad)
    ]
    updates += [
        types_pb2.Update(update_id=f"id-{number}", volume_posted=types_pb2.VolumePosted(member_id=text))
        for number, text in enumerate(bad)
    ]
    updates += [types_pb2.Update(update_id=text, volume_posted=types_pb2.VolumePosted(member_id="1")) for text in bad]
    receipts = await _push(target, updates)
    taken = [receipt for receipt in receipts if receipt.code == 0]
    if taken:
        raise NotHeldOffError(f"taken: {[receipt.update_id for receipt in taken]}")
    return f"{len(receipts)} refused by name"


async def uploads(target: Target) -> str:
    """Uploads with names that leave the folder, of sizes beyond all, with chunks out of order, that never end."""

    def header(file_name: str = "x.csv", size_bytes: int = 10) -> pusher_pb2.UploadImportRequest:
        return pusher_pb2.UploadImportRequest(
            header=pusher_pb2.UploadImportHeader(file_name=file_name, size_bytes=size_bytes)
        )

    def chunk(offset: int, data: bytes, crc32: int = 0) -> pusher_pb2.UploadImportRequest:
        return pusher_pb2.UploadImportRequest(chunk=types_pb2.Chunk(offset=offset, data=data, crc32=crc32))

    async def stream(*parts: pusher_pb2.UploadImportRequest) -> AsyncIterator[pusher_pb2.UploadImportRequest]:
        for part in parts:
            yield part

    for name in ("../../x.csv", "/etc/x.csv", "a/b.csv", "..", "", "a\0.csv", "n" * 5_000 + ".csv", "\x1b[2J.csv"):
        call = target.pusher.UploadImport(stream(header(file_name=name)), timeout=30)
        await refused(call, _INVALID, what=f"file name {name[:20]!r}")
    for size in (2**63, 2**64 - 1):
        call = target.pusher.UploadImport(stream(header(size_bytes=size)), timeout=30)
        await refused(call, _INVALID, _EXHAUSTED, what=f"{size} bytes")
    for parts in (
        (chunk(0, b"x"),),
        (header(), header()),
        (header(), chunk(5, b"x")),
        (header(), chunk(0, b"x" * 10, crc32=1)),
        (header(), chunk(2**64 - 1, b"x")),
    ):
        call = target.pusher.UploadImport(stream(*parts), timeout=30)
        await refused(call, _INVALID, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.ABORTED, what="chunks out of order")

    async def endless() -> AsyncIterator[pusher_pb2.UploadImportRequest]:
        yield header()
        await asyncio.sleep(3_600)

    held = [target.pusher.UploadImport(endless()) for _ in range(target.count(100))]
    await asyncio.sleep(2)
    over = sum(call.done() for call in held)
    for call in held:
        call.cancel()
    return f"{over} of {len(held)} that never end refused at once"


async def followers(target: Target) -> str:
    """Two hundred readers of the whole log who never read on."""
    stubs = [target.pusher for _ in range(8)]
    request = pusher_pb2.ReadLogRequest(first_position=1)
    calls = [stubs[number % 8].ReadLog(request) for number in range(target.count(200))]
    await asyncio.sleep(3)
    for call in calls:
        call.cancel()
    return f"{len(calls)} left"


async def wrong_ranges(target: Target) -> str:
    """Positions and imports that were never there."""
    for first, last in ((2**63, 2**63 + 5), (5, 1)):
        request = pusher_pb2.ReadLogRequest(first_position=first, last_position=last)
        found = await outcomes([_all(target.pusher.ReadLog(request, timeout=30))])
        only(found, _INVALID, grpc.StatusCode.OUT_OF_RANGE, what=f"records {first} to {last}")
    watch = target.pusher.WatchImport(pusher_pb2.WatchImportRequest(import_id=2**63), timeout=30)
    found = await outcomes([_all(watch)])
    only(found, grpc.StatusCode.NOT_FOUND, what="an import that never was")
    skip = pusher_pb2.SkipUpdateRequest(position=2**63, reason="x" * 10_000)
    await refused(target.pusher.SkipUpdate(skip, timeout=30), _INVALID, _PRECONDITION, what="a skip")
    return "each refused"


async def _all(call: AsyncIterable[object]) -> None:
    async for _ in call:
        pass


async def foreign_services(target: Target) -> str:
    """A node is spoken to by another cluster's pusher, of another log, and told to load from anywhere."""
    known = await target.instant(0).GetNode(treenode_pb2.GetNodeRequest(), timeout=10)

    async def said(hello: treenode_pb2.PusherHello) -> AsyncIterator[treenode_pb2.ApplyUpdatesRequest]:
        yield treenode_pb2.ApplyUpdatesRequest(hello=hello)

    own = "127.0.0.1:1"
    for cluster, log_id, address in (
        ("dot-local\nforged", "x", own),
        ("dot-local", "", own),
        ("dot-local", "x" * 100_000, own),
        ("dot-local", known.status.log_id, "unix:/tmp/x"),
    ):
        hello = treenode_pb2.PusherHello(cluster=cluster, log_id=log_id, pusher_address=address)
        found = await outcomes([_all(target.instant(0).ApplyUpdates(said(hello), timeout=30))])
        only(found, _INVALID, _PRECONDITION, what=f"a hello of {cluster!r}, {log_id[:20]!r}, {address}")
    for source in ("unix:/etc/passwd", "dns://8.8.8.8/x:1", "127.0.0.1:99999", "x" * 100_000):
        manifest = types_pb2.ImportManifest(import_id=2**40, file_name="x.csv", size_bytes=10)
        request = treenode_pb2.LoadImportRequest(manifest=manifest, sources=[source], pusher_address="127.0.0.1:1")
        found = await outcomes([_all(target.instant(0).LoadImport(request, timeout=30))])
        only(found, _INVALID, _PRECONDITION, what=f"an import from {source[:20]}")
    return "each refused"


ATTACKS = (wide_updates, texts, uploads, followers, wrong_ranges, foreign_services)
