"""A node that keeps what it is sent and answers as the proto says: no tree, only the log's order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from fasttree.v1 import (
    coordinator_pb2,
    import_source_pb2,
    import_source_pb2_grpc,
    pusher_pb2,
    pusher_pb2_grpc,
    treenode_pb2,
    treenode_pb2_grpc,
    types_pb2,
)
from services.shared.serving.channels import SERVER_OPTIONS, open_channel
from services.shared.wire.record import check_record

# Members whose updates the fake treats in a special way.
HELD_MEMBER, REJECTED_MEMBER = "HELD", "REJECTED"


class FakeNode(treenode_pb2_grpc.TreeNodeServiceServicer):
    """One node. Listens from `start` to `stop`; keeps its state in between."""

    def __init__(self, name: str = "fake", *, fast: bool = False) -> None:
        """`fast`: does not look into updates."""
        self.name = name
        self.log_id = ""
        self.position = 0
        #: Checksum of the record there.
        self.crc32 = 0
        self.import_id = 0
        self.update_ids: list[str] = []
        #: Messages with records.
        self.messages = 0
        self.hellos: list[treenode_pb2.PusherHello] = []
        self.log_end = treenode_pb2.LogEnd()
        self.loads: list[treenode_pb2.LoadImportRequest] = []
        self.files: dict[int, bytes] = {}
        self.carried_positions: list[int] = []
        #: Import ids that it finds bad.
        self.refuses: set[int] = set()
        #: Import ids at which it breaks off in the middle, so many times.
        self.dies_of: dict[int, int] = {}
        #: Cleared: takes nothing (a stopped process).
        self.running = asyncio.Event()
        self.running.set()
        self.address = ""
        self._fast = fast
        self._server: grpc.aio.Server | None = None
        self._answers: asyncio.Queue[treenode_pb2.ApplyUpdatesResponse | None] = asyncio.Queue()

    async def start(self) -> FakeNode:
        """Listens; at the same address as before, if it did before."""
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        treenode_pb2_grpc.add_TreeNodeServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port(self.address or "127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"
        await self._server.start()
        return self

    async def stop(self) -> None:
        """Ends all streams; keeps its state."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def status(self) -> coordinator_pb2.NodeStatus:
        """Where it stands."""
        return coordinator_pb2.NodeStatus(
            position=self.position,
            import_id=self.import_id,
            log_id=self.log_id,
            state=coordinator_pb2.NODE_STATE_PASSIVE,
            record_position=self.position if self.crc32 else 0,
            record_crc32=self.crc32,
        )

    async def ApplyUpdates(
        self, request_iterator: AsyncIterator[treenode_pb2.ApplyUpdatesRequest], context: Any
    ) -> AsyncIterator[treenode_pb2.ApplyUpdatesResponse]:
        """See the proto."""
        first = await anext(request_iterator)
        self.hellos.append(first.hello)
        if self.log_id and self.log_id != first.hello.log_id:
            self.position, self.crc32, self.import_id, self.update_ids = 0, 0, 0, []
        self.log_id = first.hello.log_id
        self.log_end = first.log_end
        yield treenode_pb2.ApplyUpdatesResponse(status=self.status())
        answers: asyncio.Queue[treenode_pb2.ApplyUpdatesResponse | None] = asyncio.Queue()
        reader = asyncio.create_task(self._read(request_iterator, answers))
        self._answers = answers
        try:
            while (answer := await answers.get()) is not None:
                yield answer
            error = reader.exception() if reader.done() else None
            if error is not None:
                await context.abort(grpc.StatusCode.DATA_LOSS, str(error))
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await reader

    async def _read(
        self,
        requests: AsyncIterator[treenode_pb2.ApplyUpdatesRequest],
        answers: asyncio.Queue[treenode_pb2.ApplyUpdatesResponse | None],
    ) -> None:
        try:
            async for request in requests:
                await self.running.wait()
                self.log_end = request.log_end
                if request.records:
                    self.messages += 1
                    answers.put_nowait(self._apply(request))
        finally:
            answers.put_nowait(None)

    def _apply(self, request: treenode_pb2.ApplyUpdatesRequest) -> treenode_pb2.ApplyUpdatesResponse:
        if self._fast:
            self.position = request.records[-1].position
            return treenode_pb2.ApplyUpdatesResponse(applied_position=self.position)
        answer = treenode_pb2.ApplyUpdatesResponse()
        for record in request.records:
            check_record(record)
            if record.position <= self.position:
                continue
            if record.position != self.position + 1:
                raise ValueError(f"gap: {record.position} after {self.position}")
            update = types_pb2.Update.FromString(record.update)
            self.update_ids.append(update.update_id)
            self.position, self.crc32 = record.position, record.crc32
            outcome = {HELD_MEMBER: types_pb2.OUTCOME_HELD, REJECTED_MEMBER: types_pb2.OUTCOME_REJECTED}.get(
                update.volume_posted.member_id
            )
            if outcome is not None:
                answer.outcomes.add(position=record.position, update_id=update.update_id, outcome=outcome)
        answer.applied_position = self.position
        return answer

    async def LoadImport(
        self, request: treenode_pb2.LoadImportRequest, context: Any
    ) -> AsyncIterator[treenode_pb2.LoadImportResponse]:
        """See the proto: fetches the file from the first source that has it, and reads the log after it."""
        self.loads.append(request)
        import_id = request.manifest.import_id
        yield treenode_pb2.LoadImportResponse(phase=treenode_pb2.IMPORT_PHASE_DOWNLOADING)
        self.files[import_id] = await self._fetch(import_id, list(request.sources))
        yield treenode_pb2.LoadImportResponse(phase=treenode_pb2.IMPORT_PHASE_CHECKING)
        if self.dies_of.get(import_id, 0) > 0:
            self.dies_of[import_id] -= 1
            await context.abort(grpc.StatusCode.INTERNAL, "died")
        if import_id in self.refuses:
            yield treenode_pb2.LoadImportResponse(
                phase=treenode_pb2.IMPORT_PHASE_REFUSED,
                rejected_rows=[types_pb2.RejectedRow(line=2, column="sponsor_id", reason="unknown sponsor")],
                rejected_count=1,
                reason="1 row was rejected",
            )
            return
        position = await self._replay(request)
        self.import_id, self.position = import_id, max(self.position, position)
        self._answers.put_nowait(treenode_pb2.ApplyUpdatesResponse(status=self.status()))
        yield treenode_pb2.LoadImportResponse(
            phase=treenode_pb2.IMPORT_PHASE_DONE, status=self.status(), carried_positions=self.carried_positions
        )

    async def _fetch(self, import_id: int, sources: list[str]) -> bytes:
        for source in sources:
            async with open_channel(source) as channel:
                stub = import_source_pb2_grpc.ImportSourceServiceStub(channel)
                data = b""
                try:
                    async for part in stub.DownloadImport(import_source_pb2.DownloadImportRequest(import_id=import_id)):
                        data += part.chunk.data
                except grpc.aio.AioRpcError:
                    continue
                return data
        raise ValueError("no source has it")

    async def _replay(self, request: treenode_pb2.LoadImportRequest) -> int:
        """Reads the log after the file's position; returns where that ended."""
        position = request.manifest.as_of_position
        if self.log_end.position <= position:
            return position
        async with open_channel(request.pusher_address) as channel:
            call = pusher_pb2_grpc.PusherServiceStub(channel).ReadLog(
                pusher_pb2.ReadLogRequest(first_position=position + 1, last_position=self.log_end.position)
            )
            async for response in call:
                for record in response.records:
                    check_record(record)
                    position = record.position
        return position

    async def GetNode(self, request: treenode_pb2.GetNodeRequest, context: Any) -> treenode_pb2.GetNodeResponse:
        """See the proto."""
        return treenode_pb2.GetNodeResponse(
            address=coordinator_pb2.NodeAddress(name=self.name, instant=self.address), status=self.status()
        )

    async def DownloadSnapshot(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Not what the pusher calls."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no snapshots here")
        yield treenode_pb2.DownloadSnapshotResponse()

    async def GetDigest(self, request: Any, context: Any) -> Any:
        """Not what the pusher calls."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no digests here")

    async def ListLegDigests(self, request: Any, context: Any) -> Any:
        """Not what the pusher calls."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no digests here")
