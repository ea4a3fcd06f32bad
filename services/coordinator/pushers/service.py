"""The pushers' side of CoordinatorService: heartbeats in, answers out; a switchover; and what others see of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

from fasttree.v1 import coordinator_pb2
from services.coordinator.pushers.events import PusherAnswer, PusherBeat, PusherState
from services.coordinator.pushers.runner import PusherElectionRunner
from services.shared.domain.addresses import NODE_NAME_FORM, address_problem, is_node_name
from services.shared.domain.sentences import counted, quoted
from services.shared.serving.errors import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
)

#: Answers that wait for a pusher that does not read.
_ANSWERS_WAITING_MAX = 256
#: An incarnation, or the id of a log.
_ID = re.compile(r"[!-~]{1,64}")
#: An epoch that a pusher may know beyond this coordinator's own; see the nodes' in `service.py`.
_EPOCH_LEAD_MAX = 2**32
_NOTE_LENGTH_MAX = 500
_REPLACED_MAX = 64


class PusherStream:
    """One pusher's way back: answers, then perhaps an error."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[PusherAnswer | Exception | None] = asyncio.Queue()

    def answer(self, answer: PusherAnswer) -> None:
        """Sends an answer; ends the stream of a pusher that does not read them."""
        if self._waiting.qsize() >= _ANSWERS_WAITING_MAX:
            self.end(ResourceExhaustedError(f"{answer.name} does not read the answers to its heartbeats"))
            return
        self._waiting.put_nowait(answer)

    def end(self, error: Exception | None) -> None:
        """Ends the stream after what is waiting."""
        self._waiting.put_nowait(error)

    async def next(self) -> PusherAnswer | None:
        """The next answer; None at the end. Raises the error that ends the stream."""
        item = await self._waiting.get()
        if isinstance(item, Exception):
            raise item
        return item


class PusherCalls:
    """What pushers, and those who ask about them, call.

    Args:
        runner: The election.
        cluster: The cluster's name.
        pushers_max: More than so many are refused.
    """

    def __init__(self, runner: PusherElectionRunner, cluster: str, pushers_max: int) -> None:
        self._runner = runner
        self._cluster = cluster
        self._pushers_max = pushers_max

    async def keep(
        self,
        requests: AsyncIterator[coordinator_pb2.KeepPusherRequest],
        context: Any,
        without_standbys: Callable[[], Exception] | None = None,
    ) -> AsyncIterator[coordinator_pb2.KeepPusherResponse]:
        """One pusher's stream. `without_standbys`: the end of one that has no stream to each coordinator."""
        stream = PusherStream()
        reader = asyncio.create_task(self._read(requests, stream, without_standbys))
        context.add_done_callback(lambda _: reader.cancel())
        try:
            while (answer := await stream.next()) is not None:
                yield coordinator_pb2.KeepPusherResponse(
                    sequence=answer.sequence,
                    active=answer.active,
                    epoch=answer.epoch,
                    active_name=answer.active_name,
                    active_address=answer.active_address,
                    unfit=answer.unfit,
                )
        finally:
            reader.cancel()

    async def _read(
        self,
        requests: AsyncIterator[coordinator_pb2.KeepPusherRequest],
        stream: PusherStream,
        without_standbys: Callable[[], Exception] | None,
    ) -> None:
        process: tuple[str, str] | None = None
        try:
            async for request in requests:
                if without_standbys is not None and not request.hears_standbys:
                    raise without_standbys()
                self._check(request, process)
                if process is None:
                    process = request.name, request.incarnation
                    if older := self._runner.attach(*process, stream):
                        older.end(AbortedError(f"a newer stream of {request.name} took this one's place"))
                self._runner.feed(_beat(request))
            stream.end(None)
        except Exception as error:
            stream.end(error)
        finally:
            if process is not None:
                self._runner.detach(*process, stream)

    def _check(self, request: coordinator_pb2.KeepPusherRequest, process: tuple[str, str] | None) -> None:
        if request.cluster != self._cluster:
            raise FailedPreconditionError(
                f"this is the coordinator of cluster {self._cluster}, and the pusher is of {quoted(request.cluster)}: "
                "set [cluster] name and coordinator to match",
                field="cluster",
                value=request.cluster,
            )
        if not is_node_name(request.name):
            raise InvalidArgumentError(f"name must be {NODE_NAME_FORM}", field="name", value=request.name)
        if problem := address_problem(request.address):
            raise InvalidArgumentError(f"address: {problem}", field="address", value=request.address)
        if not _ID.fullmatch(request.incarnation):
            raise InvalidArgumentError(
                "incarnation must be 1 to 64 printable ASCII characters without blanks",
                field="incarnation",
                value=request.incarnation,
            )
        _check_logs(request.status)
        if request.sequence == 0:
            raise InvalidArgumentError("sequence counts from 1", field="sequence", value="0")
        if process is not None and process != (request.name, request.incarnation):
            raise InvalidArgumentError(
                "a stream belongs to one process: name and incarnation stay", field="name", value=request.name
            )
        core = self._runner.core
        if request.name not in core.leases and len(core.leases) >= self._pushers_max:
            raise ResourceExhaustedError(
                f"{counted(len(core.leases), 'pusher is', 'pushers are')} known already: wait until some are forgotten"
            )
        if max(request.status.known_epoch, request.status.epoch) > core.recorded.pusher_epoch + _EPOCH_LEAD_MAX:
            raise InvalidArgumentError(
                f"epoch {request.status.known_epoch} is far beyond this coordinator's {core.recorded.pusher_epoch}: a "
                "pusher of another cluster, or a damaged log",
                field="status.known_epoch",
                value=str(request.status.known_epoch),
            )

    async def switch_over(self, to_pusher: str) -> coordinator_pb2.SwitchoverPusherResponse:
        """Makes another pusher active."""
        done = await self._runner.switch_over(to_pusher)
        return coordinator_pb2.SwitchoverPusherResponse(
            from_pusher=done.from_pusher,
            to_pusher=done.to_pusher,
            epoch=done.epoch,
            took_ms=round(done.took_s * 1_000),
        )

    def describe(self, cluster: coordinator_pb2.Cluster) -> None:
        """Fills in what the cluster's view says of pushers."""
        core, now_s = self._runner.core, self._runner.now_s()
        recorded = core.recorded
        cluster.pusher_epoch = recorded.pusher_epoch
        cluster.pusher, cluster.pusher_address = recorded.pusher, recorded.pusher_address
        for name, lease in sorted(core.leases.items()):
            beat, unfit = lease.beat, core.cluster_log.why_not(lease.beat)
            state = PusherState.UNFIT if unfit and beat.state is PusherState.STANDBY else beat.state
            cluster.pushers.add(
                name=name,
                address=beat.address,
                status=coordinator_pb2.PusherStatus(
                    state=coordinator_pb2.PusherState.ValueType(state),
                    position=beat.position,
                    log_id=beat.log_id,
                    epoch=beat.epoch,
                    known_epoch=beat.known_epoch,
                    note=unfit or beat.note,
                    log_in_force=beat.log_in_force,
                    replaced_log_ids=beat.replaced_log_ids,
                ),
                alive=core.is_alive(lease, now_s),
                silent_ms=max(0, min(int((now_s - lease.heard_at_s) * 1_000), 2**32 - 1)),
            )


def _check_logs(status: coordinator_pb2.PusherStatus) -> None:
    """Raises InvalidArgumentError where an id is none, or there are too many."""
    for log_id in (*filter(None, (status.log_id,)), *status.replaced_log_ids):
        if not _ID.fullmatch(log_id):
            raise InvalidArgumentError(
                "log_id must be at most 64 printable ASCII characters without blanks",
                field="status.log_id",
                value=log_id,
            )
    if len(status.replaced_log_ids) > _REPLACED_MAX:
        raise InvalidArgumentError(
            f"at most {_REPLACED_MAX} logs can be named that were replaced", field="status.replaced_log_ids"
        )


def _beat(request: coordinator_pb2.KeepPusherRequest) -> PusherBeat:
    status = request.status
    known = {state.value for state in PusherState}
    return PusherBeat(
        name=request.name,
        incarnation=request.incarnation,
        sequence=request.sequence,
        address=request.address,
        state=PusherState(status.state) if status.state in known else PusherState.UNSPECIFIED,
        position=status.position,
        epoch=status.epoch,
        known_epoch=status.known_epoch,
        note=status.note[:_NOTE_LENGTH_MAX],
        log_id=status.log_id,
        log_in_force=status.log_in_force,
        replaced_log_ids=tuple(status.replaced_log_ids),
    )
