"""A node whose tree is a dict: it takes the log in order, holds what is early, and takes imports."""

from __future__ import annotations

import asyncio
import zlib
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
from services.shared.rules import RULE_VERSION, is_rule
from services.shared.serving.channels import open_channel
from services.shared.serving.errors import (
    AbortedError,
    DataLossError,
    FailedPreconditionError,
    FastTreeError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from services.shared.wire.record import RecordDamagedError, check_record
from tests.fakes.import_file import BadFileError, read_tree
from tests.fakes.server import CLUSTER, Fake

_Answers = asyncio.Queue[treenode_pb2.ApplyUpdatesResponse | FastTreeError | None]


class FakeTree:
    """{member: (sponsor, own digest)}, and what waits for a member."""

    def __init__(self, members: dict[str, tuple[str, int]] | None = None) -> None:
        self.members = members or {}
        #: The digest, as far as updates made it.
        self.total = self.digest
        #: Updates that came before their member did, by position.
        self.held: dict[int, types_pb2.Update] = {}

    def apply(self, position: int, update: types_pb2.Update) -> types_pb2.UpdateOutcome | None:
        """Takes an update; says what became of it where that is not "applied". Of rules it has none."""
        if is_rule(update):
            return None
        change = getattr(update, update.WhichOneof("change") or "volume_posted")
        enrols = update.HasField("member_enrolled")
        missing = [member for member in self._needed(change, enrols) if member not in self.members]
        outcome = types_pb2.UpdateOutcome(position=position, update_id=update.update_id)
        if missing:
            self.held[position] = update
            outcome.outcome, outcome.waits_for_member_id = types_pb2.OUTCOME_HELD, missing[0]
            return outcome
        if enrols and change.member_id in self.members:
            outcome.outcome, outcome.reason = types_pb2.OUTCOME_REJECTED, "the member is enrolled already"
            return outcome
        sponsor, own = self.members.get(change.member_id, (getattr(change, "sponsor_id", ""), 0))
        more = zlib.crc32(update.SerializeToString())
        self.members[change.member_id] = (sponsor, (own + more) % 2**64)
        self.total = (self.total + more) % 2**64
        if enrols:
            waiting, self.held = self.held, {}
            for early, held in waiting.items():
                self.apply(early, held)
        return None

    def _needed(self, change: Any, enrols: bool) -> list[str]:
        names = ("sponsor_id",) if enrols else ("member_id", "new_parent_id")
        return [member for member in (getattr(change, name, "") for name in names) if member]

    def legs(self, member_id: str) -> list[str]:
        """Those that a member sponsors; of nobody: the roots."""
        return sorted(member for member, (sponsor, _) in self.members.items() if sponsor == member_id)

    def leg_digest(self, member_id: str) -> int:
        """The sum over a member and everybody below."""
        below = sum(self.leg_digest(leg) for leg in self.legs(member_id))
        return (self.members[member_id][1] + below) % 2**64

    @property
    def digest(self) -> int:
        """The sum over everybody."""
        return sum(own for _, own in self.members.values()) % 2**64


class FakeNode(treenode_pb2_grpc.TreeNodeServiceServicer, Fake):
    """One node, passive for ever."""

    adders = (treenode_pb2_grpc.add_TreeNodeServiceServicer_to_server,)

    def __init__(self, name: str = "fake", members: dict[str, tuple[str, int]] | None = None) -> None:
        super().__init__()
        self.name = name
        self.tree = FakeTree(members)
        self.log_id = ""
        self.position = 0
        #: Checksum of the record there; 0: not known.
        self.crc32 = 0
        self.import_id = 0
        self.carried_positions: list[int] = []
        #: The tree of the log before, and what it is as of, while that is served.
        self.old: tuple[FakeTree, types_pb2.AsOf] | None = None
        #: The log that was refused last, and why.
        self.refused = ("", "")
        #: What the first node to take an import says beside them.
        self.carried_holds: list[types_pb2.CarriedHold] = []
        self.carried_removals: list[types_pb2.CarriedRemoval] = []
        #: What became of updates, by position, as it says; of others it says nothing.
        self.fates: dict[int, treenode_pb2.UpdateFate.ValueType] = {}
        # What it was told.
        #: Of members and their volume.
        self.update_ids: list[str] = []
        #: Messages with records.
        self.messages = 0
        self.hellos: list[treenode_pb2.PusherHello] = []
        self.log_end = treenode_pb2.LogEnd()
        self.loads: list[treenode_pb2.LoadImportRequest] = []
        self.files: dict[int, bytes] = {}
        #: The newest version of the rules that it knows.
        self.rule_version = RULE_VERSION
        # Faults.
        #: Import ids at which it breaks off in the middle, so many times.
        self.dies_of: dict[int, int] = {}
        #: Cleared: takes nothing (a stopped process).
        self.running = asyncio.Event()
        self.running.set()
        self._answers: _Answers = asyncio.Queue()
        self._moved = asyncio.Event()
        self._digests: dict[int, int] = {}

    def status(self) -> coordinator_pb2.NodeStatus:
        """Where it stands."""
        return coordinator_pb2.NodeStatus(
            position=self.position,
            import_id=self.import_id,
            log_id=self.log_id,
            digest=self.tree.digest,
            state=coordinator_pb2.NODE_STATE_PASSIVE,
            record_position=self.position if self.crc32 else 0,
            record_crc32=self.crc32,
            rule_version=self.rule_version,
        )

    def _move_to(self, position: int) -> None:
        self.position = position
        self._digests[position] = self.tree.total
        self._moved.set()
        self._moved = asyncio.Event()

    # -- updates

    async def ApplyUpdates(
        self, requests: AsyncIterator[treenode_pb2.ApplyUpdatesRequest], context: Any
    ) -> AsyncIterator[treenode_pb2.ApplyUpdatesResponse]:
        first = await anext(requests)
        if not first.HasField("hello"):
            raise InvalidArgumentError("the first message must hold the pusher's hello", field="hello")
        if first.hello.cluster != CLUSTER:
            raise FailedPreconditionError(f"this node belongs to cluster {CLUSTER}", field="hello.cluster")
        self._answers.put_nowait(AbortedError("a newer stream of the pusher took the place of this one"))
        answers = self._answers = _Answers()
        refusal = self._meet(first)
        yield treenode_pb2.ApplyUpdatesResponse(status=self.status(), applied_position=self.position)
        if refusal:
            raise FailedPreconditionError(refusal, reason="PUSHER_REFUSED")
        reading = asyncio.create_task(self._read(requests, answers))
        try:
            while (answer := await answers.get()) is not None:
                if isinstance(answer, FastTreeError):
                    raise answer
                yield answer
        finally:
            reading.cancel()

    def _meet(self, first: treenode_pb2.ApplyUpdatesRequest) -> str:
        """Takes the hello; says why not, if it does not."""
        self.hellos.append(first.hello)
        log_id = first.hello.log_id
        if not log_id:
            return "the hello has no log_id"
        self.refused = ("", "")
        if self.log_id and self.log_id != log_id and (self.position or self.import_id):
            if self.log_id not in first.hello.replaced_log_ids:
                self.refused = (log_id, f"its state is of log {self.log_id}, the pusher's is {log_id}")
                return self.refused[1]
            self.old = self.old or (self.tree, types_pb2.AsOf(import_id=self.import_id, position=self.position))
            self.tree, self.crc32, self.import_id, self.update_ids = FakeTree(), 0, 0, []
            self._move_to(0)
        elif first.log_end.position < self.position:
            self.refused = (log_id, f"the log ends at {first.log_end.position}, and the node is at {self.position}")
            return self.refused[1]
        self.log_id, self.log_end = log_id, first.log_end
        return ""

    async def _read(self, requests: AsyncIterator[treenode_pb2.ApplyUpdatesRequest], answers: _Answers) -> None:
        try:
            async for request in requests:
                await self.running.wait()
                self.log_end = request.log_end
                if request.records:
                    self.messages += 1
                    answers.put_nowait(self._apply(request.records))
            answers.put_nowait(None)
        except FastTreeError as error:
            answers.put_nowait(error)

    def _apply(self, records: Any) -> treenode_pb2.ApplyUpdatesResponse:
        answer = treenode_pb2.ApplyUpdatesResponse()
        for record in records:
            try:
                check_record(record)
            except RecordDamagedError as error:
                raise DataLossError(str(error), reason="RECORD_DAMAGED", field="records") from error
            if record.position <= self.position:
                continue
            if record.position != self.position + 1:
                message = f"record {record.position} after {self.position}"
                raise DataLossError(message, reason="POSITION_GAP", field="records")
            update = types_pb2.Update.FromString(record.update)
            outcome = self.tree.apply(record.position, update)
            if outcome is not None:
                answer.outcomes.append(outcome)
            if not is_rule(update):
                self.update_ids.append(update.update_id)
            self.crc32 = record.crc32
            self._move_to(record.position)
        answer.applied_position = self.position
        return answer

    # -- imports

    async def LoadImport(
        self, request: treenode_pb2.LoadImportRequest, context: Any
    ) -> AsyncIterator[treenode_pb2.LoadImportResponse]:
        """See the proto: fetches the file from the first source that has it, and reads the log after it."""
        self.loads.append(request)
        manifest = request.manifest
        if request.log_id and self.log_id and request.log_id != self.log_id:
            raise FailedPreconditionError(f"this node is of log {self.log_id}", reason="OTHER_LOG")
        known = manifest.carried_known or bool(manifest.carried_positions)
        if self.import_id < manifest.import_id:
            asked_of = request.carried_of_import_id if request.HasField("carried_of_import_id") else self.import_id
            if not known and asked_of != self.import_id:
                raise UnavailableError(f"the node's tree is of import {self.import_id}", reason="NODE_BEHIND")
            yield treenode_pb2.LoadImportResponse(phase=treenode_pb2.IMPORT_PHASE_DOWNLOADING)
            content = self.files[manifest.import_id] = await _fetch(manifest.import_id, list(request.sources))
            yield treenode_pb2.LoadImportResponse(phase=treenode_pb2.IMPORT_PHASE_CHECKING)
            if self.dies_of.get(manifest.import_id, 0) > 0:
                self.dies_of[manifest.import_id] -= 1
                await context.abort(grpc.StatusCode.INTERNAL, "died")
            try:
                tree = FakeTree(read_tree(content))
            except BadFileError as error:
                yield treenode_pb2.LoadImportResponse(
                    phase=treenode_pb2.IMPORT_PHASE_REFUSED,
                    rejected_rows=error.rows,
                    rejected_count=len(error.rows),
                    reason=error.reason,
                )
                raise InvalidArgumentError(error.reason, field="manifest") from error
            held = sorted(position for position in self.tree.held if position <= manifest.as_of_position)
            self.carried_positions = list(manifest.carried_positions) if known else held
            self.carried_holds = list(manifest.carried_holds) or self.carried_holds
            self.carried_removals = list(manifest.carried_removals) or self.carried_removals
            position = await self._replay(tree, request)
            self.tree, self.import_id, self.old = tree, manifest.import_id, None
            self._move_to(max(self.position, position))
            self._answers.put_nowait(treenode_pb2.ApplyUpdatesResponse(status=self.status()))
        yield treenode_pb2.LoadImportResponse(
            phase=treenode_pb2.IMPORT_PHASE_DONE,
            status=self.status(),
            carried_positions=self.carried_positions,
            carried_holds=self.carried_holds,
            carried_removals=self.carried_removals,
        )

    async def _replay(self, tree: FakeTree, request: treenode_pb2.LoadImportRequest) -> int:
        """Offers the new tree what it carries, and what came after the file; returns where that ended."""
        position, end = request.manifest.as_of_position, max(self.log_end.position, self.position)
        ranges = [(carried, carried) for carried in self.carried_positions] + [(position + 1, end)]
        async with open_channel(request.pusher_address) as channel:
            for first, last in ranges:
                if first <= last:
                    wanted = pusher_pb2.ReadLogRequest(first_position=first, last_position=last)
                    async for response in pusher_pb2_grpc.PusherServiceStub(channel).ReadLog(wanted):
                        for record in response.records:
                            check_record(record)
                            tree.apply(record.position, types_pb2.Update.FromString(record.update))
        return max(position, end)

    # -- who asks

    async def GetNode(self, request: treenode_pb2.GetNodeRequest, context: Any) -> treenode_pb2.GetNodeResponse:
        address = coordinator_pb2.NodeAddress(name=self.name, instant=self.address)
        served, as_of = self.old or (self.tree, None)
        return treenode_pb2.GetNodeResponse(
            address=address,
            status=self.status(),
            members=len(served.members),
            held=len(served.held),
            refused_log_id=self.refused[0],
            refused_reason=self.refused[1],
            old_tree=as_of,
        )

    async def GetUpdateFate(self, request: Any, context: Any) -> treenode_pb2.GetUpdateFateResponse:
        if request.position not in self.fates:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "nobody said what became of it")
        return treenode_pb2.GetUpdateFateResponse(fate=self.fates[request.position])

    async def GetDigest(self, request: treenode_pb2.GetDigestRequest, context: Any) -> treenode_pb2.GetDigestResponse:
        while request.position > self.position:
            await self._moved.wait()
        position = request.position or self.position
        digest = self._digests[position] if position < self.position else self.tree.digest
        as_of = types_pb2.AsOf(import_id=self.import_id, position=position, node=self.name)
        return treenode_pb2.GetDigestResponse(as_of=as_of, digest=digest)

    async def ListLegDigests(
        self, request: treenode_pb2.ListLegDigestsRequest, context: Any
    ) -> treenode_pb2.ListLegDigestsResponse:
        if request.member_id and request.member_id not in self.tree.members:
            raise NotFoundError(f"no member {request.member_id}", field="member_id", value=request.member_id)
        as_of = types_pb2.AsOf(import_id=self.import_id, position=self.position, node=self.name)
        legs = [self._leg(leg) for leg in self.tree.legs(request.member_id) if leg > request.page_token]
        page = legs[: request.page_size or 1_000]
        member = self._leg(request.member_id) if request.member_id else None
        following = page[-1].member_id if len(legs) > len(page) else ""
        return treenode_pb2.ListLegDigestsResponse(as_of=as_of, legs=page, member=member, next_page_token=following)

    def _leg(self, member_id: str) -> treenode_pb2.LegDigest:
        return treenode_pb2.LegDigest(
            member_id=member_id,
            member_digest=self.tree.members[member_id][1],
            leg_digest=self.tree.leg_digest(member_id),
        )


async def _fetch(import_id: int, sources: list[str]) -> bytes:
    for source in sources:
        async with open_channel(source) as channel:
            stub = import_source_pb2_grpc.ImportSourceServiceStub(channel)
            content = b""
            try:
                async for part in stub.DownloadImport(import_source_pb2.DownloadImportRequest(import_id=import_id)):
                    content += part.chunk.data
            except grpc.aio.AioRpcError:
                continue
            return content
    raise InvalidArgumentError("no source has the file", field="sources")
