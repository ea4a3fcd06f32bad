"""SkipUpdate: gathers what is known of an update, and makes the decision (`decision.py`) a record of the log."""

from __future__ import annotations

import asyncio
import logging

import grpc.aio

from fasttree.v1 import pusher_pb2, treenode_pb2, treenode_pb2_grpc, types_pb2
from services.pusher.fanout.runner import FanOut
from services.pusher.log.errors import error_of
from services.pusher.log.store import LogDamagedError, LogSealedError, LogStore, LogStoreError, NotInLogError
from services.pusher.log.writer import LogWriter
from services.pusher.skips.decision import SKIP_ID_PREFIX, Evidence, Refused, SkipProblem, Wanted, refused
from services.shared.serving.channels import open_channel
from services.shared.serving.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    FastTreeError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from services.shared.wire.record import content_bytes

#: A node that does not say in time what it made of an update is not waited for, in seconds.
ASK_TIMEOUT_S = 3.0

_ERRORS: dict[SkipProblem, type[FastTreeError]] = {
    SkipProblem.MALFORMED: InvalidArgumentError,
    SkipProblem.NOT_IN_LOG: NotFoundError,
    SkipProblem.SKIPPED_ALREADY: AlreadyExistsError,
    SkipProblem.TOO_MANY: ResourceExhaustedError,
}

_NOT_TAKEN = (
    treenode_pb2.UPDATE_FATE_AHEAD,
    treenode_pb2.UPDATE_FATE_HELD,
    treenode_pb2.UPDATE_FATE_SKIPPED,
    treenode_pb2.UPDATE_FATE_IN_FILE,
)

logger = logging.getLogger(__name__)


class SkipRunner:
    """The decisions of one log."""

    def __init__(self, store: LogStore, writer: LogWriter, fan_out: FanOut) -> None:
        self._store = store
        self._writer = writer
        self._fan_out = fan_out
        #: One decision at a time: each goes by those before it.
        self._turn = asyncio.Lock()
        #: Every decision in the log, by the position that it is about.
        self._known = _stored(store)
        if self._known:
            fan_out.skips_known(list(self._known.values()))

    async def skip(self, request: pusher_pb2.SkipUpdateRequest) -> pusher_pb2.SkipUpdateResponse:
        """Takes the operator's word; returns once it is durable, and nodes hear of it.

        Raises:
            FastTreeError: It is not taken, and nothing has changed.
        """
        wanted = Wanted(request.position, request.reason, request.force)
        async with self._turn:
            evidence = await self._evidence(wanted.position)
            reasons = {position: known.reason for position, known in self._known.items()}
            problem = refused(wanted, evidence, reasons)
            if problem is not None:
                raise _error_of(problem, wanted)
            skipped = types_pb2.UpdateSkipped(
                position=wanted.position, reason=wanted.reason, skipped_update_id=evidence.update_id
            )
            position = await self._append(skipped)
            self._known[wanted.position] = skipped
            self._fan_out.skips_known(list(self._known.values()))
        logger.warning("update %d (%s) is skipped: %s", wanted.position, evidence.update_id, wanted.reason)
        return pusher_pb2.SkipUpdateResponse(position=position, skipped_update_id=evidence.update_id)

    async def _append(self, skipped: types_pb2.UpdateSkipped) -> int:
        update_id = f"{SKIP_ID_PREFIX}{skipped.position}"
        content = content_bytes(types_pb2.Update(update_id=update_id, update_skipped=skipped))
        try:
            appended = await self._writer.append_own(update_id, content)
        except LogStoreError as error:
            raise error_of(error, "the skip can't be kept") from error
        return appended.positions[0]

    async def _evidence(self, position: int) -> Evidence:
        nodes = [node for node in self._fan_out.progress() if node.connected]
        fates = await asyncio.gather(*(_fate(node.instant_address, position) for node in nodes))
        known = list(zip(nodes, fates, strict=True))
        return Evidence(
            update_id=await asyncio.to_thread(self._store.update_id_at, position),
            is_damaged=await asyncio.to_thread(_is_damaged, self._store, position),
            is_rule=await asyncio.to_thread(_is_rule, self._store, position),
            named_by=[node.node for node in nodes if position in (node.halted_before, node.fault_position)],
            taken_by=[node.node for node, fate in known if fate == treenode_pb2.UPDATE_FATE_TAKEN],
            not_taken_by=[node.node for node, fate in known if fate in _NOT_TAKEN],
        )


async def _fate(address: str, position: int) -> treenode_pb2.UpdateFate.ValueType:
    request = treenode_pb2.GetUpdateFateRequest(position=position)
    try:
        async with open_channel(address) as channel:
            stub = treenode_pb2_grpc.TreeNodeServiceStub(channel)
            return (await stub.GetUpdateFate(request, timeout=ASK_TIMEOUT_S)).fate
    except grpc.aio.AioRpcError as error:
        logger.info("%s does not say what it made of update %d: %s", address, position, error.details())
        return treenode_pb2.UPDATE_FATE_UNSPECIFIED


def _is_damaged(store: LogStore, position: int) -> bool:
    try:
        store.read(position, position, 1)
    except LogDamagedError:
        return True
    except LogSealedError as error:
        raise error_of(error, "the record can't be looked at") from error
    except NotInLogError:
        pass
    return False


def _is_rule(store: LogStore, position: int) -> bool:
    return any(at == position for at, _ in store.rule_records())


def _stored(store: LogStore) -> dict[int, types_pb2.UpdateSkipped]:
    decisions = [types_pb2.Update.FromString(content).update_skipped for _, content in store.named(SKIP_ID_PREFIX)]
    return {decision.position: decision for decision in decisions}


def _error_of(problem: Refused, wanted: Wanted) -> FastTreeError:
    kind = _ERRORS.get(problem.problem, FailedPreconditionError)
    field = "reason" if problem.problem is SkipProblem.MALFORMED else "position"
    return kind(problem.text, reason=problem.problem.name, field=field, value=str(wanted.position))
