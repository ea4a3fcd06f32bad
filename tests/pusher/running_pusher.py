"""A pusher in this process, over real gRPC."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc.aio

from fasttree.v1 import pusher_pb2, pusher_pb2_grpc, types_pb2
from services.pusher.app import Pusher
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import LogStore
from services.pusher.rules.runner import Calendar
from services.pusher.settings import PusherSettings
from services.shared.config.sections import ClusterSettings
from services.shared.serving.channels import open_channel
from tests.fakes.node import FakeNode
from tests.fakes.server import CLUSTER


def write_hosts(folder: Path, nodes: Sequence[FakeNode]) -> Path:
    """A host file of these nodes."""
    lines = []
    for node in nodes:
        host, _, port = node.address.rpartition(":")
        lines.append(f"{host} {int(port) - 1} {port}\n")
    path = folder / "hosts.50201"
    path.write_text("# host report-port instant-port\n" + "".join(lines))
    return path


@contextlib.asynccontextmanager
async def running_pusher(
    folder: Path,
    nodes: Sequence[FakeNode] = (),
    store: LogStore | None = None,
    coordinator: str = "",
    calendar: Calendar | None = None,
    **settings: Any,
) -> AsyncIterator[Pusher]:
    """A pusher that feeds these nodes, with fast patience."""
    chosen: dict[str, Any] = {
        "listen_host": "127.0.0.1",
        "port": 0,
        "http_port": 0,
        "state_folder": str(folder),
        "drain_grace_s": 1.0,
        "canary_patience_s": 0.5,
        **settings,
    }
    cluster = ClusterSettings(name=CLUSTER, hosts_file=str(write_hosts(folder, nodes)), coordinator=coordinator)
    pusher = Pusher(PusherSettings.of(**chosen), cluster, store or SqliteLog(folder).claim_alone(), calendar)
    await pusher.start()
    try:
        yield pusher
    finally:
        await pusher.stop()
        if pusher.background.error is not None:
            raise pusher.background.error


@contextlib.asynccontextmanager
async def stub_of(pusher: Pusher) -> AsyncIterator[pusher_pb2_grpc.PusherServiceAsyncStub]:
    async with open_channel(f"127.0.0.1:{pusher.server.port}") as channel:
        yield pusher_pb2_grpc.PusherServiceStub(channel)


#: grpcio's client says so where it was about to write when the call ended, whatever the server had said.
_LOST = "Internal error from Core"


async def push(
    stub: pusher_pb2_grpc.PusherServiceAsyncStub,
    updates: list[types_pb2.Update],
    *,
    batch: int = 100,
    ack_level: pusher_pb2.AckLevel.ValueType = pusher_pb2.ACK_LEVEL_DURABLE,
) -> list[pusher_pb2.Receipt]:
    """Pushes on one stream; returns every receipt. Again, as any client, where what the pusher said was lost."""

    async def requests() -> AsyncIterator[pusher_pb2.PushUpdatesRequest]:
        for begin in range(0, len(updates), batch):
            yield pusher_pb2.PushUpdatesRequest(updates=updates[begin : begin + batch], ack_level=ack_level)

    while True:
        receipts: list[pusher_pb2.Receipt] = []
        try:
            async for response in stub.PushUpdates(requests()):
                receipts += response.receipts
        except grpc.aio.AioRpcError as error:
            if error.details() != _LOST:
                raise
        else:
            return receipts


def code_of(error: BaseException) -> grpc.StatusCode:
    """The status of a failed call."""
    assert isinstance(error, grpc.aio.AioRpcError)
    return error.code()
