"""Real nodes in this process, and the pusher and coordinator that they speak to: small, honest implementations."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import grpc.aio

from fasttree.v1 import (
    coordinator_pb2,
    coordinator_pb2_grpc,
    import_source_pb2,
    import_source_pb2_grpc,
    pusher_pb2,
    pusher_pb2_grpc,
    treenode_pb2,
    treenode_pb2_grpc,
    types_pb2,
)
from services.shared.config.sections import ClusterSettings
from services.shared.files.chunks import make_chunk
from services.shared.serving.channels import open_channel
from services.shared.serving.errors import DataLossError, NotFoundError, OutOfRangeError
from services.shared.serving.server import GrpcServer
from services.shared.wire.record import checksum
from services.treenode.app import TreeNode
from services.treenode.imports.reading import ImportLimits
from services.treenode.settings import TreeNodeSettings

CLUSTER = "dot-test"
WAIT_S = 60.0


async def until(condition: Callable[[], Any], what: str) -> None:
    """Waits until the condition holds."""
    deadline_s = time.monotonic() + WAIT_S
    while True:
        held = condition()
        if isinstance(held, Awaitable):
            held = await held
        if held:
            return
        assert time.monotonic() < deadline_s, f"waited {WAIT_S:g} s for {what}"
        await asyncio.sleep(0.01)


def enrolled(member_id: str, sponsor_id: str = "") -> types_pb2.Update:
    change = types_pb2.MemberEnrolled(member_id=member_id, sponsor_id=sponsor_id, status="A")
    return types_pb2.Update(update_id=f"E-{member_id}", member_enrolled=change)


def posted(order: str, member_id: str, amount_hundredths: int = 100) -> types_pb2.Update:
    change = types_pb2.VolumePosted(member_id=member_id, amount_hundredths=amount_hundredths)
    return types_pb2.Update(update_id=order, volume_posted=change)


def moved(update_id: str, member_id: str, new_parent_id: str) -> types_pb2.Update:
    change = types_pb2.MemberMoved(member_id=member_id, new_parent_id=new_parent_id, tree=types_pb2.TREE_SPONSOR)
    return types_pb2.Update(update_id=update_id, member_moved=change)


def csv_of(members: Iterable[tuple[str, str, str]]) -> bytes:
    """An import file of (member, sponsor, pv)."""
    rows = [f"{member},{sponsor},A,1,2026-01-31,{pv}" for member, sponsor, pv in members]
    return "\n".join(["member_id,sponsor_id,status,rank,joined_on,pv", *rows, ""]).encode()


class Pusher(pusher_pb2_grpc.PusherServiceServicer, import_source_pb2_grpc.ImportSourceServiceServicer):
    """A log in memory and its import files, on a real port."""

    def __init__(self, log_id: str = "log-1") -> None:
        self.log_id = log_id
        self.updates: list[types_pb2.Update] = []
        self.first_position = 1
        #: Position of a record that can't be read any more; 0: none.
        self.damaged_position = 0
        #: Calls of ReadLog.
        self.log_reads = 0
        self.import_id = 0
        self.files: dict[int, tuple[types_pb2.ImportManifest, bytes]] = {}
        #: Bytes that were sent of import files.
        self.sent_bytes = 0
        #: Ends a download after so many bytes, once.
        self.cut_after_bytes: int | None = None
        self.address = ""
        self._server = GrpcServer(
            "127.0.0.1:0",
            services=[
                (pusher_pb2_grpc.add_PusherServiceServicer_to_server, self),
                (import_source_pb2_grpc.add_ImportSourceServiceServicer_to_server, self),
            ],
            service_names=[],
        )

    async def start(self) -> None:
        self.address = f"127.0.0.1:{await self._server.start()}"

    async def stop(self) -> None:
        await self._server.stop(0)

    def log_end(self) -> treenode_pb2.LogEnd:
        end = treenode_pb2.LogEnd(
            first_position=self.first_position, position=len(self.updates), import_id=self.import_id
        )
        end.sent_at.GetCurrentTime()
        return end

    def record(self, position: int) -> treenode_pb2.LogRecord:
        body = self.updates[position - 1].SerializeToString()
        return treenode_pb2.LogRecord(position=position, update=body, crc32=checksum(position, body))

    def add_import(self, import_id: int, content: bytes, as_of_position: int) -> types_pb2.ImportManifest:
        manifest = types_pb2.ImportManifest(
            import_id=import_id,
            file_name="members.csv",
            size_bytes=len(content),
            sha256=hashlib.sha256(content).digest(),
            as_of_position=as_of_position,
        )
        self.files[import_id] = (manifest, content)
        return manifest

    async def ReadLog(
        self, request: pusher_pb2.ReadLogRequest, context: Any
    ) -> AsyncIterator[pusher_pb2.ReadLogResponse]:
        self.log_reads += 1
        if request.first_position < self.first_position or request.last_position > len(self.updates):
            raise OutOfRangeError("not in the log")
        for position in range(request.first_position, request.last_position + 1):
            if position == self.damaged_position:
                raise DataLossError(f"log record at position {position}: its checksum is wrong")
            yield pusher_pb2.ReadLogResponse(records=[self.record(position)])

    async def DownloadImport(
        self, request: import_source_pb2.DownloadImportRequest, context: Any
    ) -> AsyncIterator[import_source_pb2.DownloadImportResponse]:
        if request.import_id not in self.files:
            raise NotFoundError("no such import")
        manifest, content = self.files[request.import_id]
        yield import_source_pb2.DownloadImportResponse(manifest=manifest)
        for offset in range(request.offset, len(content), 64):
            if self.cut_after_bytes is not None and offset >= self.cut_after_bytes:
                self.cut_after_bytes = None
                await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            data = content[offset : offset + 64]
            self.sent_bytes += len(data)
            yield import_source_pb2.DownloadImportResponse(chunk=make_chunk(offset, data))


class Stream:
    """One ApplyUpdates stream, as a pusher keeps it."""

    def __init__(self, node: TreeNode, pusher: Pusher) -> None:
        self._pusher = pusher
        self._channel = open_channel(node.address.instant)
        self._call = treenode_pb2_grpc.TreeNodeServiceStub(self._channel).ApplyUpdates()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()
        await self._channel.close()

    async def hello(self, cluster: str = CLUSTER) -> treenode_pb2.ApplyUpdatesResponse:
        hello = treenode_pb2.PusherHello(
            cluster=cluster, log_id=self._pusher.log_id, pusher_address=self._pusher.address
        )
        return await self.ask(treenode_pb2.ApplyUpdatesRequest(hello=hello, log_end=self._pusher.log_end()))

    async def send(self, positions: Iterable[int]) -> treenode_pb2.ApplyUpdatesResponse:
        return await self.send_records([self._pusher.record(position) for position in positions])

    async def send_records(self, records: Sequence[treenode_pb2.LogRecord]) -> treenode_pb2.ApplyUpdatesResponse:
        answer = await self.ask(treenode_pb2.ApplyUpdatesRequest(records=records, log_end=self._pusher.log_end()))
        if records and answer.HasField("status") and answer.applied_position < records[-1].position:
            answer = await self.read()  # the other was the node's own word on a tree that it took meanwhile
        return answer

    async def ask(self, request: treenode_pb2.ApplyUpdatesRequest) -> treenode_pb2.ApplyUpdatesResponse:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._call.write(request)
        return await self.read()

    async def read(self) -> treenode_pb2.ApplyUpdatesResponse:
        """The node's next word."""
        try:
            response = await self._call.read()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise EndedError(await self._call.code(), await self._call.details()) from None
        if response is grpc.aio.EOF:
            raise EndedError(await self._call.code(), await self._call.details())
        assert isinstance(response, treenode_pb2.ApplyUpdatesResponse)
        return response

    async def ended(self) -> EndedError:
        """How the node ended the stream."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            assert await self._call.read() is grpc.aio.EOF
        return EndedError(await self._call.code(), await self._call.details())


class EndedError(Exception):
    """The node ended the stream."""

    def __init__(self, code: grpc.StatusCode, details: str | None) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details or ""


class Coordinator(coordinator_pb2_grpc.CoordinatorServiceServicer):
    """Answers heartbeats as it is told to, and names the nodes it heard."""

    def __init__(self) -> None:
        self.role = coordinator_pb2.ROLE_PASSIVE
        self.epoch = 1
        self.lease_ms = 1_000
        self.silent = False
        self.heard: dict[str, coordinator_pb2.KeepAliveRequest] = {}
        self.address = ""
        self._server = GrpcServer(
            "127.0.0.1:0",
            services=[(coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server, self)],
            service_names=[],
        )

    async def start(self) -> None:
        self.address = f"127.0.0.1:{await self._server.start()}"

    async def stop(self) -> None:
        await self._server.stop(0)

    async def KeepAlive(
        self, requests: AsyncIterator[coordinator_pb2.KeepAliveRequest], context: Any
    ) -> AsyncIterator[coordinator_pb2.KeepAliveResponse]:
        async for request in requests:
            self.heard[request.node.name] = request
            if not self.silent:
                yield coordinator_pb2.KeepAliveResponse(
                    sequence=request.sequence, role=self.role, epoch=self.epoch, lease_ms=self.lease_ms
                )

    async def GetCluster(
        self, request: coordinator_pb2.GetClusterRequest, context: Any
    ) -> coordinator_pb2.GetClusterResponse:
        nodes = [
            coordinator_pb2.ClusterNode(address=heard.node, status=heard.status, alive=True)
            for heard in self.heard.values()
        ]
        return coordinator_pb2.GetClusterResponse(cluster=coordinator_pb2.Cluster(name=CLUSTER, nodes=nodes))


@contextlib.asynccontextmanager
async def running_node(
    folder: Path, *, name: str = "n1", coordinator: str = "", limits: ImportLimits | None = None, **settings: Any
) -> AsyncIterator[TreeNode]:
    """A node on free ports, with its state in the folder; drained at the end."""
    node_settings = TreeNodeSettings.of(
        name=name,
        listen_host="127.0.0.1",
        report_port=0,
        instant_port=0,
        http_port=0,
        state_folder=str(folder),
        **{"drain_notice_s": 0.0, "drain_grace_s": 1.0, "import_threshold_members_min": 4, **settings},
    )
    cluster = ClusterSettings(name=CLUSTER, periods=["2026-11", "2026-10"], coordinator=coordinator)
    node = TreeNode(node_settings, cluster, limits or ImportLimits())
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


@contextlib.asynccontextmanager
async def running_pusher(log_id: str = "log-1") -> AsyncIterator[Pusher]:
    """A pusher with an empty log."""
    pusher = Pusher(log_id)
    await pusher.start()
    try:
        yield pusher
    finally:
        await pusher.stop()


@contextlib.asynccontextmanager
async def running_coordinator() -> AsyncIterator[Coordinator]:
    """A coordinator that makes nobody primary."""
    coordinator = Coordinator()
    await coordinator.start()
    try:
        yield coordinator
    finally:
        await coordinator.stop()


async def load_import(
    node: TreeNode, pusher: Pusher, manifest: types_pb2.ImportManifest, sources: Sequence[str] | None = None
) -> list[treenode_pb2.LoadImportResponse]:
    """Asks the node to take an import; every message until the stream's end. A refusal is its last one."""
    request = treenode_pb2.LoadImportRequest(
        manifest=manifest,
        sources=[pusher.address] if sources is None else sources,
        pusher_address=pusher.address,
    )
    responses: list[treenode_pb2.LoadImportResponse] = []
    async with open_channel(node.address.instant) as channel:
        stub = treenode_pb2_grpc.TreeNodeServiceStub(channel)
        try:
            async for response in stub.LoadImport(request):
                responses.append(response)  # noqa: PERF401 - what came before a failure counts
        except grpc.aio.AioRpcError as error:
            refused = bool(responses) and responses[-1].phase == treenode_pb2.IMPORT_PHASE_REFUSED
            if not refused or error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                raise
    return responses
