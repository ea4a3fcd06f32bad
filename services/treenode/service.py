"""fasttree.v1.TreeNodeService: the calls of the instant port, each a thin path to the part that does it."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator
from typing import Any

from fasttree.v1 import coordinator_pb2, treenode_pb2, treenode_pb2_grpc, types_pb2
from services.shared.domain.addresses import address_problem
from services.shared.domain.limits import MEMBER_ID_LENGTH_MAX
from services.shared.files.downloads import serve_chunks
from services.shared.files.sealed.names import state_name
from services.shared.files.sealed.reading import content_size
from services.shared.own_version import own_version
from services.shared.serving.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    UnavailableError,
)
from services.treenode.imports.loading import ImportLoader, ImportTaken
from services.treenode.imports.reading import ImportRefusedError, Refusal
from services.treenode.node.runner import NodeRunner, now_s
from services.treenode.periods.runner import PeriodKeeper
from services.treenode.replication.stream_runner import UpdateStreams
from services.treenode.reports.plan.page_tokens import PageKey, page_token, read_page_token, request_digest
from services.treenode.reports.plan.paging import page_size
from services.treenode.snapshots.saving import SnapshotWriter
from services.treenode.snapshots.store import Snapshot, SnapshotStore
from services.treenode.tracing.imports import LoadPhases
from services.treenode.tree import Tree
from services.treenode.tree.columns.ids import find_one, packed_id
from services.treenode.tree.kernels.links import TOP
from services.treenode.tree.leg_digests import LegDigest, leg_digests

#: A LoadImport that has nothing new to tell says so this often, in seconds: its caller sees that the node lives.
LOAD_HEARTBEAT_S = 5.0
REJECTED_ROWS_TOLD = 100

_Context = Any
_Phase = treenode_pb2.ImportPhase


class TreeNodeServicer(treenode_pb2_grpc.TreeNodeServiceServicer):
    """Serves the pusher and the peers."""

    def __init__(
        self,
        node: NodeRunner,
        streams: UpdateStreams,
        loader: ImportLoader,
        store: SnapshotStore,
        writer: SnapshotWriter,
        periods: PeriodKeeper,
        address: coordinator_pb2.NodeAddress,
    ) -> None:
        self._node = node
        self._streams = streams
        self._loader = loader
        self._store = store
        self._writer = writer
        self._periods = periods
        self._address = address
        #: How long each phase of the last import took, in seconds.
        self.import_phases_s: dict[str, float] = {}

    async def ApplyUpdates(
        self, requests: AsyncIterator[treenode_pb2.ApplyUpdatesRequest], context: _Context
    ) -> AsyncIterator[treenode_pb2.ApplyUpdatesResponse]:
        """The pusher's stream."""
        async for response in self._streams.serve(requests):
            yield response

    async def LoadImport(
        self, request: treenode_pb2.LoadImportRequest, context: _Context
    ) -> AsyncIterator[treenode_pb2.LoadImportResponse]:
        """Progress, then the import's end. Ends with the call: a caller that goes away ends the loading."""
        told: asyncio.Queue[treenode_pb2.LoadImportResponse] = asyncio.Queue()
        if request.pusher_address and (problem := address_problem(request.pusher_address)):
            raise InvalidArgumentError(f"pusher_address: {problem}", field="pusher_address")
        phases = LoadPhases(request.manifest.import_id, told.put_nowait)
        loading = asyncio.ensure_future(self._loader.load(request, self._streams.pusher_address, phases.heard))
        last = treenode_pb2.LoadImportResponse(phase=_Phase.IMPORT_PHASE_DOWNLOADING)
        following: asyncio.Future[treenode_pb2.LoadImportResponse] | None = None
        try:
            while not loading.done() or not told.empty():
                following = asyncio.ensure_future(told.get())
                await asyncio.wait({following, loading}, timeout=LOAD_HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    last = following.result()
                    yield last
                    continue
                following.cancel()
                if not loading.done():
                    yield last
            try:
                taken = loading.result()
            except ImportRefusedError as error:
                yield _refused(error.refusal)
                raise InvalidArgumentError(str(error), reason="IMPORT_REFUSED") from error
            yield self._done(taken)
        finally:
            if following is not None:
                following.cancel()
            loading.cancel()
            await asyncio.wait({loading})
            phases.ended(loading, self._node.swap)
            self.import_phases_s = phases.took_s or self.import_phases_s

    def _done(self, taken: ImportTaken) -> treenode_pb2.LoadImportResponse:
        response = treenode_pb2.LoadImportResponse(
            phase=_Phase.IMPORT_PHASE_DONE, percent=100, status=self._node.status(), rows=taken.rows
        )
        response.carried_positions[:] = taken.carried_positions
        for member_id, position in taken.carried_removals:
            response.carried_removals.add(member_id=member_id, position=position)
        for hold in taken.carried_holds:
            response.carried_holds.add(
                position=hold.position, member_id=hold.waits_for, removed_position=hold.removed_at
            )
        if taken.reconciliation is not None:
            response.reconciliation.CopyFrom(taken.reconciliation)
        return response

    async def DownloadSnapshot(
        self, request: treenode_pb2.DownloadSnapshotRequest, context: _Context
    ) -> AsyncIterator[treenode_pb2.DownloadSnapshotResponse]:
        """The manifest, then the snapshot from the offset on."""
        if request.closed_period:
            async for response in self._download_period(request):
                yield response
            return
        snapshot = await self._snapshot(request.import_id, request.position)
        checksum = await self._writer.checksum(snapshot)
        label = await asyncio.to_thread(self._store.label_of, snapshot)
        name = state_name(snapshot.path.name)
        size_bytes = await asyncio.to_thread(content_size, snapshot.path, name)
        manifest = treenode_pb2.SnapshotManifest(
            import_id=snapshot.import_id,
            position=snapshot.position,
            log_id=label["log_id"],
            size_bytes=size_bytes,
            sha256=checksum,
        )
        yield treenode_pb2.DownloadSnapshotResponse(manifest=manifest)
        async for chunk in serve_chunks(snapshot.path, request.offset, size_bytes, name):
            yield treenode_pb2.DownloadSnapshotResponse(chunk=chunk)

    async def _download_period(
        self, request: treenode_pb2.DownloadSnapshotRequest
    ) -> AsyncIterator[treenode_pb2.DownloadSnapshotResponse]:
        file = self._periods.file_of(request.closed_period)
        if file is None or (file.state.import_id, file.state.position) != (request.import_id, request.position):
            raise NotFoundError(
                f"this node keeps no such state of period {request.closed_period[:32]} (any more)",
                field="closed_period",
                value=request.closed_period,
            )
        path, checksum = await self._periods.checked(file)
        manifest = treenode_pb2.SnapshotManifest(
            import_id=file.state.import_id,
            position=file.state.position,
            log_id=file.state.log_id,
            size_bytes=file.size_bytes,
            sha256=checksum,
        )
        yield treenode_pb2.DownloadSnapshotResponse(manifest=manifest)
        async for chunk in serve_chunks(path, request.offset, file.size_bytes, state_name(path.name)):
            yield treenode_pb2.DownloadSnapshotResponse(chunk=chunk)

    async def _snapshot(self, import_id: int, position: int) -> Snapshot:
        found = await asyncio.to_thread(self._store.find, import_id, position)
        wanted = (import_id, position) == (0, 0)
        if wanted and (found is None or found.import_id != self._node.core.sequence.import_id):
            try:
                found = await self._writer.save()
            except OSError as error:
                raise UnavailableError("the snapshot could not be written; ask another node") from error
        if found is None:
            raise NotFoundError(
                "this node has no snapshot of that state (any more); ask for the newest",
                field="position",
                value=f"{import_id}/{position}",
            )
        return found

    async def GetNode(self, request: treenode_pb2.GetNodeRequest, context: _Context) -> treenode_pb2.GetNodeResponse:
        """Where the node stands."""
        node = self._node
        tree, sequence = node.served, node.core.sequence
        response = treenode_pb2.GetNodeResponse(
            address=self._address,
            status=node.status(),
            members=tree.member_count,
            held=tree.held_count,
            rejected=tree.rejected_count,
            refused_log_id=sequence.refused_log_id,
            refused_reason=sequence.refused_reason,
            kept_periods=self._periods.kept(),
            kept_periods_problem=self._periods.problem,
            software_version=own_version(),
            lease_left_ms=int(node.core.role.lease_left_s(now_s()) * 1e3),
        )
        if node.old is not None:
            response.old_tree.CopyFrom(node.as_of())
        if node.as_of().HasField("fresh_at"):
            response.fresh_at.CopyFrom(node.as_of().fresh_at)
        return response

    async def GetUpdateFate(
        self, request: treenode_pb2.GetUpdateFateRequest, context: _Context
    ) -> treenode_pb2.GetUpdateFateResponse:
        """What the tree in force has made of an update."""
        await self._node.gate.settled()
        in_force, position = self._node.in_force, request.position
        fate = in_force.tree.fate_of(position, was_offered=position in in_force.carried)
        return treenode_pb2.GetUpdateFateResponse(fate=treenode_pb2.UpdateFate.ValueType(int(fate)))

    async def GetDigest(
        self, request: treenode_pb2.GetDigestRequest, context: _Context
    ) -> treenode_pb2.GetDigestResponse:
        """The digest at one position; waits until the node is there, for as long as the call may take."""
        node = self._node
        left_s = context.time_remaining()
        try:
            async with asyncio.timeout(node.settings.report_position_wait_s_max if left_s is None else left_s):
                await node.wait_for_update(request.position)
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"position {request.position} was not reached in time: the node is at {node.in_force.tree.position}",
                reason="POSITION_NOT_REACHED",
                field="position",
                value=str(request.position),
            ) from error
        await node.gate.settled()
        position = request.position or node.in_force.tree.position
        digest = node.in_force.tree.digest_at(position)
        if digest is None:
            raise OutOfRangeError(
                f"the digest at position {position} is no longer kept; ask for a newer one",
                field="position",
                value=str(position),
            )
        response = treenode_pb2.GetDigestResponse(as_of=node.as_of(), digest=digest)
        # Of the tree that updates go to, which is not the served one in a node that went over to another log.
        response.as_of.import_id, response.as_of.position = node.core.sequence.import_id, position
        return response

    async def ListLegDigests(
        self, request: treenode_pb2.ListLegDigestsRequest, context: _Context
    ) -> treenode_pb2.ListLegDigestsResponse:
        """Digests of a member's legs, page by page, computed from one state in a thread."""
        node, digest = self._node, request_digest(request)
        after = read_page_token(request.page_token, digest).member_id if request.page_token else ""
        legs_max, as_of = page_size(request.page_size), types_pb2.AsOf()

        def compute() -> tuple[LegDigest | None, list[LegDigest]] | None:
            as_of.CopyFrom(node.as_of())
            row = _place(node.in_force.tree, request.member_id)
            return None if row is None else leg_digests(node.in_force.tree, row)

        found = await node.gate.read(compute)
        if found is None:
            raise NotFoundError(f"no member {request.member_id[:32]}", field="member_id", value=request.member_id)
        member, legs = found
        legs = legs[bisect_right(legs, after, key=lambda leg: leg.member_id) :]
        response = treenode_pb2.ListLegDigestsResponse(as_of=as_of, legs=[_leg(leg) for leg in legs[:legs_max]])
        if member is not None:
            response.member.CopyFrom(_leg(member))
        if len(legs) > legs_max:
            response.next_page_token = page_token(PageKey(None, "", legs[legs_max - 1].member_id), digest)
        return response


def _place(tree: Tree, member_id: str) -> int | None:
    """The row of a member or of the place that it left empty, which has facts too; TOP for ""; None where nobody is."""
    if not member_id:
        return TOP
    if len(member_id) > MEMBER_ID_LENGTH_MAX or not member_id.isascii():
        return None
    row = int(find_one(tree.store.ids, packed_id(member_id)))
    return row if row >= 0 else None


def _leg(leg: LegDigest) -> treenode_pb2.LegDigest:
    return treenode_pb2.LegDigest(member_id=leg.member_id, member_digest=leg.member_digest, leg_digest=leg.leg_digest)


def _refused(refusal: Refusal) -> treenode_pb2.LoadImportResponse:
    return treenode_pb2.LoadImportResponse(
        phase=_Phase.IMPORT_PHASE_REFUSED,
        reason=refusal.reason,
        rejected_count=refusal.rejected_count,
        rejected_rows=[
            types_pb2.RejectedRow(line=row.line, column=row.column, reason=row.reason)
            for row in refusal.rejected_rows[:REJECTED_ROWS_TOLD]
        ],
    )
