"""The pusher's gRPC face: PusherService. What its calls do is elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import grpc
import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from fasttree.v1 import pusher_pb2, pusher_pb2_grpc
from services.pusher.admission.decisions import PUSH_UPDATES, PushedDecisions
from services.pusher.admission.runner import AdmissionRunner
from services.pusher.comparison.runner import ComparisonRunner
from services.pusher.fanout.membership import Membership
from services.pusher.fanout.runner import FanOut
from services.pusher.imports.catalog import ImportCatalog
from services.pusher.imports.intake import ImportIntake
from services.pusher.imports.runner import RolloutRunner
from services.pusher.lineage.runner import LineageRunner
from services.pusher.log.reading import LogReading
from services.pusher.log.store import Durability
from services.pusher.personal.runner import PersonalValues
from services.pusher.rules.runner import RuleRecords
from services.pusher.skips.runner import SkipRunner
from services.shared.files.sealed.own import sealing_problem
from services.shared.own_version import own_version
from services.shared.rules import RULE_VERSION, Rules, rules_message
from services.shared.security.audit.log import audit_problem
from services.shared.security.caller import Caller
from services.shared.security.guard import name_problem
from services.shared.security.own import certificate_expires, security_problem
from services.shared.serving.errors import FailedPreconditionError, PermissionDeniedError, UnavailableError
from services.shared.serving.standard.auditing import caller_of

_Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"
_IMPORTS_TOLD_MAX = 20
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the calls are made of."""

    cluster: str
    started_at: Timestamp
    admission: AdmissionRunner
    fan_out: FanOut
    reading: LogReading
    catalog: ImportCatalog
    rollout: RolloutRunner
    intake: ImportIntake
    skips: SkipRunner
    personal: PersonalValues
    comparison: ComparisonRunner
    lineage: LineageRunner
    rules: Callable[[], Rules]
    rule_records: RuleRecords
    membership: Membership
    #: In words; empty where none is known.
    log_damage: Callable[[], str]
    log_gone: Callable[[], str]
    #: Why pushes are refused, or wait yet, until the log can be written; empty where it can.
    log_waits: Callable[[], str]
    log_durability: Callable[[], Durability]
    imports_kept: Callable[[], pusher_pb2.ImportsKept]
    draining: asyncio.Event
    #: In which it is active, of several pushers; 0: it is the only one.
    epoch: int = 0


class PusherServicer(pusher_pb2_grpc.PusherServiceServicer):
    """See proto/fasttree/v1/pusher.proto."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def PushUpdates(
        self, request_iterator: AsyncIterator[pusher_pb2.PushUpdatesRequest], context: _Context
    ) -> AsyncIterator[pusher_pb2.PushUpdatesResponse]:
        await self._check_open()
        decisions = PushedDecisions(caller_of(context, PUSH_UPDATES), context.peer())
        async for response in self._parts.admission.stream(request_iterator, context.time_remaining(), decisions):
            yield response

    async def UploadImport(
        self, request_iterator: AsyncIterator[pusher_pb2.UploadImportRequest], context: _Context
    ) -> pusher_pb2.UploadImportResponse:
        await self._check_open()
        return pusher_pb2.UploadImportResponse(manifest=await self._parts.intake.upload(request_iterator))

    async def WatchImport(
        self, request: pusher_pb2.WatchImportRequest, context: _Context
    ) -> AsyncIterator[pusher_pb2.WatchImportResponse]:
        async for status in until_drained(self._parts.catalog.watch(request.import_id), self._parts.draining):
            yield pusher_pb2.WatchImportResponse(status=status)

    async def RollbackImport(
        self, request: pusher_pb2.RollbackImportRequest, context: _Context
    ) -> pusher_pb2.RollbackImportResponse:
        await self._check_open()
        return pusher_pb2.RollbackImportResponse(manifest=await self._parts.intake.roll_back())

    async def GetImportProfile(
        self, request: pusher_pb2.GetImportProfileRequest, context: _Context
    ) -> pusher_pb2.GetImportProfileResponse:
        profile = await self._parts.intake.kept_profile(request.name)
        return pusher_pb2.GetImportProfileResponse(profile=profile)

    async def GetPusher(self, request: pusher_pb2.GetPusherRequest, context: _Context) -> pusher_pb2.GetPusherResponse:
        parts = self._parts
        return pusher_pb2.GetPusherResponse(
            cluster=parts.cluster,
            log_id=parts.fan_out.core.log_id,
            log_end=parts.fan_out.log_end(),
            nodes=parts.fan_out.progress(parts.rollout.core.strange),
            imports=parts.catalog.told(_IMPORTS_TOLD_MAX),
            started_at=parts.started_at,
            differences=parts.comparison.differences(),
            closed_reason=parts.lineage.closed or parts.log_gone() or parts.log_waits(),
            log_damage=parts.log_damage(),
            rules=rules_message(parts.rules()),
            known_rule_version=RULE_VERSION,
            rule_version_waits_for=[parts.fan_out.names.get(node, node) for node in parts.rule_records.waits_for],
            hosts=parts.membership.hosts,
            epoch=parts.epoch,
            imports_kept=parts.imports_kept(),
            log_durability=pusher_pb2.LogDurability(**parts.log_durability()._asdict()),
            audit_problem=audit_problem(),
            software_version=own_version(),
            certificate_expires=certificate_expires(),
            sealing_problem=sealing_problem(),
            security_problem=security_problem(),
        )

    async def SkipUpdate(
        self, request: pusher_pb2.SkipUpdateRequest, context: _Context
    ) -> pusher_pb2.SkipUpdateResponse:
        await self._check_open()
        return await self._parts.skips.skip(request)

    async def EraseMember(
        self, request: pusher_pb2.EraseMemberRequest, context: _Context
    ) -> pusher_pb2.EraseMemberResponse:
        await self._check_open()
        return await self._parts.personal.erase(request.member_id)

    async def GetErasure(
        self, request: pusher_pb2.GetErasureRequest, context: _Context
    ) -> pusher_pb2.GetErasureResponse:
        return await self._parts.personal.erasure(request.member_id)

    async def ReadPersonal(
        self, request: pusher_pb2.ReadPersonalRequest, context: _Context
    ) -> pusher_pb2.ReadPersonalResponse:
        caller: Caller | None = getattr(context, "caller", None)
        if caller is not None and (problem := name_problem(caller.principals, "node", request.node)):
            raise PermissionDeniedError(problem, reason="NAME_NOT_OWN", field="node", value=request.node)
        return await self._parts.personal.read(request)

    async def AdoptLog(self, request: pusher_pb2.AdoptLogRequest, context: _Context) -> pusher_pb2.AdoptLogResponse:
        log_id, replaced = await self._parts.lineage.adopt(request.reason)
        return pusher_pb2.AdoptLogResponse(log_id=log_id, replaced_log_ids=replaced)

    async def ReadLog(self, request: pusher_pb2.ReadLogRequest, context: _Context) -> AsyncIterator[Any]:
        """See the proto. The answers are encoded already: frames as they are stored (`add_pusher_servicer`)."""
        own = self._parts.fan_out.core.log_id
        if request.log_id and request.log_id != own:
            text = f"this is log {own}, not {request.log_id[:100]}: its positions mean something else"
            raise FailedPreconditionError(text, reason="OTHER_LOG", field="log_id", value=request.log_id)
        runs = self._parts.reading.follow(request.first_position, request.last_position)
        async for data in until_drained(runs, self._parts.draining):
            yield data

    async def _check_open(self) -> None:
        """Returns once pushes and imports are taken. Raises UnavailableError where the pusher ends, and
        FailedPreconditionError where somebody has to act first."""
        parts = self._parts
        if not parts.lineage.is_known:
            known, drained = (asyncio.ensure_future(each) for each in (parts.lineage.known(), parts.draining.wait()))
            try:
                await asyncio.wait((known, drained), return_when=asyncio.FIRST_COMPLETED)
            finally:
                known.cancel()
                drained.cancel()
        if parts.draining.is_set():
            raise UnavailableError("the pusher is stopping; try again")
        parts.lineage.check()
        if gone := parts.log_gone():
            raise FailedPreconditionError(gone, reason="LOG_DAMAGED")


def add_pusher_servicer(servicer: pusher_pb2_grpc.PusherServiceServicer, server: grpc.aio.Server) -> None:
    """Adds the service, with ReadLog's answers sent as the bytes that they are."""
    read_log: grpc.RpcMethodHandler[Any, Any] = grpc.unary_stream_rpc_method_handler(
        servicer.ReadLog, request_deserializer=pusher_pb2.ReadLogRequest.FromString
    )
    pusher_pb2_grpc.add_PusherServiceServicer_to_server(servicer, server)
    # Takes the place of the generated handler, which would encode messages.
    server.add_registered_method_handlers("fasttree.v1.PusherService", {"ReadLog": read_log})


async def until_drained(items: AsyncIterator[Item], draining: asyncio.Event) -> AsyncIterator[Item]:
    """The items, until the pusher is about to end. Raises UnavailableError then."""
    drained = asyncio.create_task(draining.wait())
    following: asyncio.Task[Item | None] | None = None
    try:
        while True:
            following = asyncio.create_task(anext_or_none(items))
            await asyncio.wait((following, drained), return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                raise UnavailableError("the pusher is stopping; try again")
            item = following.result()
            if item is None:
                return
            yield item
    finally:
        drained.cancel()
        if following is not None:
            following.cancel()


async def anext_or_none(items: AsyncIterator[Item]) -> Item | None:
    """The next item; None after the last one."""
    return await anext(items, None)
