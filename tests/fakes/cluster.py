"""A small cluster in this process: the four services over plain dicts, with faults that a test can ask for.

It keeps the API's promises (ids taken once, receipts in order, an import named by its checksum), so what the client
does against it is what it does against the real one.
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pyarrow as pa

from fasttree.client import Endpoints, NodeEndpoint
from fasttree.v1 import (
    coordinator_pb2,
    coordinator_pb2_grpc,
    pusher_pb2,
    pusher_pb2_grpc,
    report_pb2,
    report_pb2_grpc,
    treenode_pb2,
    treenode_pb2_grpc,
    types_pb2,
)
from services.shared.serving.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from services.shared.serving.server import GrpcServer


class FakePusher(pusher_pb2_grpc.PusherServiceServicer):
    """Keeps updates in a list; the position of one is its index plus one."""

    def __init__(self) -> None:
        self.log: list[types_pb2.Update] = []
        self.positions: dict[str, int] = {}
        self.pushed_messages = 0
        #: Ends the stream after so many further updates, before their receipts.
        self.break_after: int | None = None
        #: Breaks uploads before the answer, after the file was taken.
        self.break_uploads = 0
        self.imports: list[pusher_pb2.ImportStatus] = []
        self.uploaded: list[bytes] = []
        self.refuse_reason = ""
        self.silent = False

    async def PushUpdates(self, requests: Any, context: Any) -> Any:
        async for request in requests:
            self.pushed_messages += 1
            if self.silent:
                await asyncio.sleep(3600)
            receipts = [self._take(update) for update in request.updates]
            if self.break_after is not None:
                self.break_after -= len(request.updates)
                if self.break_after <= 0:
                    self.break_after = None
                    await context.abort(grpc.StatusCode.UNKNOWN, "Stream removed")
            yield pusher_pb2.PushUpdatesResponse(receipts=receipts)

    def _take(self, update: types_pb2.Update) -> pusher_pb2.Receipt:
        known = self.positions.get(update.update_id)
        if known is None:
            self.log.append(update)
            self.positions[update.update_id] = len(self.log)
            return pusher_pb2.Receipt(update_id=update.update_id, position=len(self.log))
        if self.log[known - 1] != update:
            return pusher_pb2.Receipt(
                update_id=update.update_id,
                code=6,
                message="other content under this id; give the change an id of its own",
            )
        return pusher_pb2.Receipt(update_id=update.update_id, position=known, duplicate=True)

    async def UploadImport(self, requests: Any, context: Any) -> pusher_pb2.UploadImportResponse:
        content = b""
        header = None
        async for request in requests:
            if request.WhichOneof("part") == "header":
                header = request.header
                continue
            assert request.chunk.offset == len(content)
            assert request.chunk.crc32 == zlib.crc32(request.chunk.data)
            content += request.chunk.data
        assert header is not None
        assert header.size_bytes == len(content)
        assert header.sha256 == hashlib.sha256(content).digest()
        self.uploaded.append(content)
        manifest = types_pb2.ImportManifest(
            import_id=len(self.imports) + 1,
            file_name=header.file_name,
            size_bytes=len(content),
            sha256=header.sha256,
            as_of_position=header.as_of_position,
            force=header.force,
        )
        self.imports.insert(0, pusher_pb2.ImportStatus(manifest=manifest, state=pusher_pb2.IMPORT_STATE_WAITING))
        if self.break_uploads:
            self.break_uploads -= 1
            await context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
        return pusher_pb2.UploadImportResponse(manifest=manifest)

    async def WatchImport(self, request: Any, context: Any) -> Any:
        status = next((one for one in self.imports if one.manifest.import_id == request.import_id), None)
        if status is None:
            raise NotFoundError(f"no import {request.import_id}", field="import_id", value=str(request.import_id))
        yield pusher_pb2.WatchImportResponse(status=status)
        status.state = pusher_pb2.IMPORT_STATE_ROLLING_OUT
        progress = status.nodes.add(node="n1").progress
        progress.phase, progress.percent = treenode_pb2.IMPORT_PHASE_DOWNLOADING, 50
        yield pusher_pb2.WatchImportResponse(status=status)
        if self.refuse_reason:
            progress.phase, progress.reason = treenode_pb2.IMPORT_PHASE_REFUSED, self.refuse_reason
            progress.rejected_count = 1
            progress.rejected_rows.add(line=3, column="sponsor_id", reason="'9' is no member of this file")
            status.state = pusher_pb2.IMPORT_STATE_REFUSED
        else:
            progress.phase, progress.percent, progress.rows = treenode_pb2.IMPORT_PHASE_DONE, 100, 3
            status.state = pusher_pb2.IMPORT_STATE_DONE
        yield pusher_pb2.WatchImportResponse(status=status)

    async def RollbackImport(self, request: Any, context: Any) -> pusher_pb2.RollbackImportResponse:
        if len(self.imports) < 2:
            raise FailedPreconditionError("there is no import before the current one; upload the file that you want")
        return pusher_pb2.RollbackImportResponse(
            manifest=types_pb2.ImportManifest(import_id=len(self.imports) + 1, file_name="before.csv")
        )

    async def GetPusher(self, request: Any, context: Any) -> pusher_pb2.GetPusherResponse:
        return pusher_pb2.GetPusherResponse(
            cluster="dot-test",
            log_id="log-1",
            log_end=treenode_pb2.LogEnd(first_position=1, position=len(self.log), import_id=len(self.imports)),
            nodes=[pusher_pb2.NodeProgress(node="n1", connected=True, applied_position=len(self.log))],
            imports=self.imports[:20],
        )

    async def ReadLog(self, request: Any, context: Any) -> Any:
        for position in range(request.first_position, len(self.log) + 1):
            body = self.log[position - 1].SerializeToString()
            crc32 = zlib.crc32(position.to_bytes(8, "little") + body)
            record = treenode_pb2.LogRecord(position=position, update=body, crc32=crc32)
            yield pusher_pb2.ReadLogResponse(records=[record])


class FakeReports(report_pb2_grpc.ReportServiceServicer):
    """A chain of members m0 (root), m1, m2, …; `failures` are raised first, one a call."""

    def __init__(self, members: int = 5) -> None:
        self.members = [
            types_pb2.Member(
                member_id=f"m{index}",
                sponsor_id=f"m{index - 1}" if index else "",
                level=index,
                status="A",
                rank=3,
                kind=types_pb2.MEMBER_KIND_DISTRIBUTOR,
                joined_on="2026-01-02",
                pv_hundredths=100 * index,
                gv_hundredths=150,
                downline_count=members - 1 - index,
                columns={"country": "CH"},
            )
            for index in range(members)
        ]
        self.as_of = types_pb2.AsOf(import_id=1, position=7, epoch=2, node="n1")
        #: (code, details, whether a server wrote it)
        self.failures: list[grpc.StatusCode] = []
        self.calls = 0
        self.last_request: Any = None
        #: Breaks StreamDownline after the first message.
        self.break_stream = False

    async def _fail(self, request: Any, context: Any) -> None:
        self.calls += 1
        self.last_request = request
        if self.failures:
            await context.abort(self.failures.pop(0), "Received RST_STREAM")

    def _find(self, member_id: str) -> types_pb2.Member:
        for member in self.members:
            if member.member_id == member_id:
                return member
        raise NotFoundError(f"no member {member_id}; search by its beginning", field="member_id", value=member_id)

    async def GetMember(self, request: Any, context: Any) -> report_pb2.GetMemberResponse:
        await self._fail(request, context)
        return report_pb2.GetMemberResponse(as_of=self.as_of, member=self._find(request.member_id))

    async def BatchGetMembers(self, request: Any, context: Any) -> report_pb2.BatchGetMembersResponse:
        await self._fail(request, context)
        known = {member.member_id: member for member in self.members}
        return report_pb2.BatchGetMembersResponse(
            as_of=self.as_of,
            members=[known[one] for one in request.member_ids if one in known],
            unknown_member_ids=[one for one in request.member_ids if one not in known],
        )

    async def ListUpline(self, request: Any, context: Any) -> report_pb2.ListUplineResponse:
        await self._fail(request, context)
        level = self._find(request.member_id).level
        return report_pb2.ListUplineResponse(as_of=self.as_of, members=list(reversed(self.members[:level])))

    async def ListFrontLine(self, request: Any, context: Any) -> report_pb2.ListFrontLineResponse:
        await self._fail(request, context)
        children = [member for member in self.members if member.sponsor_id == request.member_id]
        return report_pb2.ListFrontLineResponse(as_of=self.as_of, members=children, total_count=len(children))

    async def ListDownline(self, request: Any, context: Any) -> report_pb2.ListDownlineResponse:
        await self._fail(request, context)
        rows = sorted(self.members, key=lambda one: one.pv_hundredths, reverse=request.sort.descending)
        return report_pb2.ListDownlineResponse(
            as_of=self.as_of, members=rows[: request.page_size], total_count=len(rows)
        )

    async def SummarizeDownline(self, request: Any, context: Any) -> report_pb2.SummarizeDownlineResponse:
        await self._fail(request, context)
        total = report_pb2.SummaryGroup(key="", members=len(self.members), pv_hundredths=1000)
        levels = [
            report_pb2.SummaryGroup(key=str(one.level), members=1, pv_hundredths=one.pv_hundredths)
            for one in self.members
        ]
        summary = report_pb2.Summary(dimension=report_pb2.SUMMARY_DIMENSION_LEVEL, groups=levels)
        return report_pb2.SummarizeDownlineResponse(as_of=self.as_of, total=total, summaries=[summary])

    async def StreamDownline(self, request: Any, context: Any) -> Any:
        await self._fail(request, context)
        if "nonsense" in request.options.columns:
            raise InvalidArgumentError(
                "no column 'nonsense'; see `fasttree describe`", field="columns", value="nonsense"
            )
        if request.format == report_pb2.ROW_FORMAT_ARROW:
            for part in _arrow_parts(self.members, list(request.options.columns)):
                yield report_pb2.StreamDownlineResponse(as_of=self.as_of, arrow=part)
            return
        for index in range(0, len(self.members), 2):
            as_of = self.as_of if index == 0 else None
            yield report_pb2.StreamDownlineResponse(as_of=as_of, members=self.members[index : index + 2])
            if self.break_stream:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the node ends")

    async def SearchMembers(self, request: Any, context: Any) -> report_pb2.SearchMembersResponse:
        await self._fail(request, context)
        found = [member for member in self.members if member.member_id.startswith(request.prefix)]
        return report_pb2.SearchMembersResponse(as_of=self.as_of, members=found)

    async def ListHeldUpdates(self, request: Any, context: Any) -> report_pb2.ListHeldUpdatesResponse:
        await self._fail(request, context)
        held = types_pb2.UpdateOutcome(
            position=3,
            update_id="o-3",
            outcome=types_pb2.OUTCOME_HELD,
            reason="no member 99 yet",
            waits_for_member_id="99",
        )
        return report_pb2.ListHeldUpdatesResponse(as_of=self.as_of, updates=[held], total_count=1)

    async def ListRejectedUpdates(self, request: Any, context: Any) -> report_pb2.ListRejectedUpdatesResponse:
        await self._fail(request, context)
        return report_pb2.ListRejectedUpdatesResponse(as_of=self.as_of)

    async def DescribeTree(self, request: Any, context: Any) -> report_pb2.DescribeTreeResponse:
        await self._fail(request, context)
        columns = [report_pb2.ColumnDescription(name="country", type=report_pb2.COLUMN_TYPE_TEXT)]
        return report_pb2.DescribeTreeResponse(
            as_of=self.as_of,
            members=len(self.members),
            roots=1,
            volume_types=["PV"],
            periods=["2026-11"],
            columns=columns,
        )


class FakeCoordinator(coordinator_pb2_grpc.CoordinatorServiceServicer):
    """Two nodes; n1 is primary until a switchover."""

    def __init__(self) -> None:
        self.primary = "n1"
        self.epoch = 4
        self.paused = False
        self.watches = 0

    def cluster(self) -> coordinator_pb2.Cluster:
        return coordinator_pb2.Cluster(
            name="dot-test",
            epoch=self.epoch,
            primary=self.primary,
            paused=self.paused,
            nodes=[self._node(name) for name in ("n1", "n2")],
        )

    def _node(self, name: str) -> coordinator_pb2.ClusterNode:
        primary = name == self.primary
        state = coordinator_pb2.NODE_STATE_PRIMARY if primary else coordinator_pb2.NODE_STATE_PASSIVE
        return coordinator_pb2.ClusterNode(
            address=coordinator_pb2.NodeAddress(name=name, report=f"{name}:50100", instant=f"{name}:50201"),
            status=coordinator_pb2.NodeStatus(
                state=state, import_id=1, position=7, digest=0xABC, primary_epoch=self.epoch if primary else 0
            ),
            role=coordinator_pb2.ROLE_PRIMARY if primary else coordinator_pb2.ROLE_PASSIVE,
            alive=True,
            silent_ms=20,
        )

    async def GetCluster(self, request: Any, context: Any) -> coordinator_pb2.GetClusterResponse:
        return coordinator_pb2.GetClusterResponse(cluster=self.cluster())

    async def WatchCluster(self, request: Any, context: Any) -> Any:
        self.watches += 1
        for _ in range(2):
            yield coordinator_pb2.WatchClusterResponse(cluster=self.cluster())
        await context.abort(grpc.StatusCode.UNKNOWN, "Stream removed")

    async def Switchover(self, request: Any, context: Any) -> coordinator_pb2.SwitchoverResponse:
        to_node = request.to_node or ("n2" if self.primary == "n1" else "n1")
        if to_node not in ("n1", "n2"):
            raise NotFoundError(f"no node {to_node}; `fasttree status` lists them", field="to_node", value=to_node)
        before, self.primary = self.primary, to_node
        self.epoch += 1
        return coordinator_pb2.SwitchoverResponse(from_node=before, to_node=to_node, epoch=self.epoch, took_ms=12)

    async def Pause(self, request: Any, context: Any) -> coordinator_pb2.PauseResponse:
        self.paused = True
        return coordinator_pb2.PauseResponse()

    async def Resume(self, request: Any, context: Any) -> coordinator_pb2.ResumeResponse:
        self.paused = False
        return coordinator_pb2.ResumeResponse()


class FakeNode(treenode_pb2_grpc.TreeNodeServiceServicer):
    """Digests over a tree of {member: (sponsor, own digest)}."""

    def __init__(self, tree: dict[str, tuple[str, int]], position: int = 7) -> None:
        self.tree = tree
        self.position = position

    def _legs(self, member_id: str) -> list[str]:
        return sorted(member for member, (sponsor, _) in self.tree.items() if sponsor == member_id)

    def _leg_digest(self, member_id: str) -> int:
        return (self.tree[member_id][1] + sum(self._leg_digest(leg) for leg in self._legs(member_id))) % 2**64

    def _digest(self, member_id: str) -> treenode_pb2.LegDigest:
        return treenode_pb2.LegDigest(
            member_id=member_id, member_digest=self.tree[member_id][1], leg_digest=self._leg_digest(member_id)
        )

    def _as_of(self) -> types_pb2.AsOf:
        return types_pb2.AsOf(import_id=1, position=self.position)

    async def GetNode(self, request: Any, context: Any) -> treenode_pb2.GetNodeResponse:
        return treenode_pb2.GetNodeResponse(
            status=coordinator_pb2.NodeStatus(import_id=1, position=self.position), members=len(self.tree)
        )

    async def GetDigest(self, request: Any, context: Any) -> treenode_pb2.GetDigestResponse:
        if request.position > self.position:
            raise UnavailableError(f"position {request.position} is not there yet")
        digest = sum(self._leg_digest(root) for root in self._legs("")) % 2**64
        return treenode_pb2.GetDigestResponse(as_of=self._as_of(), digest=digest)

    async def ListLegDigests(self, request: Any, context: Any) -> treenode_pb2.ListLegDigestsResponse:
        if request.member_id and request.member_id not in self.tree:
            raise NotFoundError(f"no member {request.member_id}", field="member_id", value=request.member_id)
        response = treenode_pb2.ListLegDigestsResponse(
            as_of=self._as_of(), legs=[self._digest(leg) for leg in self._legs(request.member_id)]
        )
        if request.member_id:
            response.member.CopyFrom(self._digest(request.member_id))
        return response


class FakeCluster:
    """All of it, on free ports."""

    def __init__(self) -> None:
        tree = {"m0": ("", 11), "m1": ("m0", 22), "m2": ("m1", 33), "m3": ("m0", 44)}
        self.pusher = FakePusher()
        self.reports = FakeReports()
        self.coordinator = FakeCoordinator()
        self.nodes = [FakeNode(dict(tree)), FakeNode(dict(tree))]
        self.endpoints = Endpoints()
        self._servers: list[GrpcServer] = []

    async def start(self) -> None:
        pusher = await self._serve(pusher_pb2_grpc.add_PusherServiceServicer_to_server, self.pusher)
        vip = await self._serve(report_pb2_grpc.add_ReportServiceServicer_to_server, self.reports)
        coordinator = await self._serve(coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server, self.coordinator)
        instants = [
            await self._serve(treenode_pb2_grpc.add_TreeNodeServiceServicer_to_server, node) for node in self.nodes
        ]
        nodes = tuple(
            NodeEndpoint(name=f"n{index}", report=vip, instant=instant) for index, instant in enumerate(instants, 1)
        )
        self.endpoints = Endpoints(vip=vip, pusher=pusher, coordinator=coordinator, nodes=nodes)

    async def _serve(self, add: Any, servicer: Any) -> str:
        server = GrpcServer("127.0.0.1:0", [(add, servicer)], [])
        self._servers.append(server)
        return f"127.0.0.1:{await server.start()}"

    async def stop(self) -> None:
        await asyncio.gather(*(server.stop(0) for server in self._servers))


@asynccontextmanager
async def fake_cluster() -> AsyncIterator[FakeCluster]:
    """A started cluster."""
    cluster = FakeCluster()
    await cluster.start()
    try:
        yield cluster
    finally:
        await cluster.stop()


def _arrow_parts(members: list[types_pb2.Member], columns: list[str]) -> list[bytes]:
    names = {"pv": "pv_hundredths", "gv": "gv_hundredths"}
    arrays = {}
    for column in columns:
        values = [getattr(one, names.get(column, column), one.columns.get(column, "")) for one in members]
        arrays[column] = pa.array(values)
    table = pa.table(arrays)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    content = sink.getvalue().to_pybytes()
    return [content[: len(content) // 2], content[len(content) // 2 :]]
