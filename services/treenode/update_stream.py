"""The pusher's stream of updates, from its hello to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from fasttree.v1 import treenode_pb2, types_pb2
from services.shared.errors import (
    AbortedError,
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    UnavailableError,
)
from services.treenode.applying import Applier, decode_records
from services.treenode.live import LiveNode
from services.treenode.sequence import LogEnd, LogEndHeard, PositionGapError, PusherHello, RefusePusher
from services.treenode.tree import NotApplied

LOG_ID_LENGTH_MAX = 128
ADDRESS_LENGTH_MAX = 300
#: Records of one message; a pusher sends some hundreds.
RECORDS_MAX = 100_000

logger = logging.getLogger(__name__)

_Requests = AsyncIterator[treenode_pb2.ApplyUpdatesRequest]


class UpdateStreams:
    """Takes one pusher's stream at a time; a newer one ends the older."""

    def __init__(self, live: LiveNode, applier: Applier) -> None:
        self._live = live
        self._applier = applier
        #: Set to end the stream that is served now.
        self._ending: asyncio.Future[str] | None = None
        #: host:port of the pusher as it introduced itself; empty before.
        self.pusher_address = ""
        #: Number of the tree whose status the pusher was last told; another one now means telling it anew.
        self._told_tree = 0

    async def serve(self, requests: _Requests) -> AsyncIterator[treenode_pb2.ApplyUpdatesResponse]:
        """Answers the hello with the node's status, each batch with how far the node is.

        Raises what the proto says of ApplyUpdates.
        """
        request = await anext(requests, None)
        if request is None or not request.HasField("hello"):
            raise InvalidArgumentError("the first message must hold the pusher's hello", field="hello")
        await self._live.restored.wait()
        ending = self._take_over()
        refusal = self._meet(request)
        if refusal:
            # Where the node stands goes out first: a pusher whose log lost updates must know which node has them, and
            # keep it out once its log has grown past them with others.
            yield self._response([], with_status=True)
            raise FailedPreconditionError(refusal, reason="PUSHER_REFUSED")
        log_id = request.hello.log_id
        yield self._response([], with_status=True)
        following: asyncio.Future[treenode_pb2.ApplyUpdatesRequest | None] | None = None
        try:
            while True:
                following = asyncio.ensure_future(anext(requests, None))
                waits: list[asyncio.Future[Any]] = [following, ending]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if ending.done():
                    raise AbortedError(ending.result())
                request = following.result()
                if request is None:
                    return
                yield await self._take(log_id, request)
        finally:
            if following is not None:
                following.cancel()
            if self._ending is ending:
                self._ending = None

    def end(self, reason: str) -> None:
        """Ends the stream that is served now, if there is one."""
        if self._ending is not None and not self._ending.done():
            self._ending.set_result(reason)

    def _take_over(self) -> asyncio.Future[str]:
        self.end("a newer stream of the pusher took the place of this one")
        ending: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ending = ending
        return ending

    def _meet(self, request: treenode_pb2.ApplyUpdatesRequest) -> str:
        """Takes the hello; says why the node refuses this pusher, if it does."""
        hello = request.hello
        ours = self._live.cluster.name
        if hello.cluster != ours:
            raise FailedPreconditionError(
                f"this node belongs to cluster {ours}, the pusher to {hello.cluster[:100]}; mend the host file",
                reason="OTHER_CLUSTER",
                field="hello.cluster",
                value=hello.cluster,
            )
        if len(hello.log_id) > LOG_ID_LENGTH_MAX:
            raise InvalidArgumentError(f"log_id must have at most {LOG_ID_LENGTH_MAX} characters", field="hello.log_id")
        if len(hello.pusher_address) > ADDRESS_LENGTH_MAX:
            raise InvalidArgumentError(
                f"pusher_address must have at most {ADDRESS_LENGTH_MAX} characters", field="hello.pusher_address"
            )
        for action in self._live.handle(PusherHello(hello.log_id, _log_end(request.log_end))):
            if isinstance(action, RefusePusher):
                return action.reason
        self.pusher_address = hello.pusher_address
        self._live.applied()
        logger.info("pusher %s speaks: log %s", hello.pusher_address, hello.log_id)
        return ""

    async def _take(self, log_id: str, request: treenode_pb2.ApplyUpdatesRequest) -> treenode_pb2.ApplyUpdatesResponse:
        if request.HasField("log_end"):
            self._live.handle(LogEndHeard(_log_end(request.log_end)))
        not_applied: list[NotApplied] = []
        if request.records:
            if len(request.records) > RECORDS_MAX:
                raise InvalidArgumentError(f"at most {RECORDS_MAX} records fit into one message", field="records")
            positions, updates, damage = decode_records(request.records)
            position_before = self._live.core.sequence.position
            try:
                not_applied = await self._applier.apply(log_id, positions, updates)
            except PositionGapError as error:
                raise DataLossError(str(error), reason="POSITION_GAP", field="records") from error
            # Not one that came again: what the node has there may be another one.
            if positions and position_before < positions[-1] <= self._live.core.sequence.position:
                self._live.last_record = (positions[-1], request.records[len(positions) - 1].crc32)
            if damage is not None:
                raise DataLossError(str(damage), reason="RECORD_DAMAGED", field="records")
        else:
            self._live.applied()
        if self._live.fatal is not None:
            raise UnavailableError("the node ends; its log says why")
        return self._response(not_applied, with_status=self._told_tree != self._live.tree_number)

    def _response(self, not_applied: list[NotApplied], *, with_status: bool) -> treenode_pb2.ApplyUpdatesResponse:
        sequence = self._live.core.sequence
        response = treenode_pb2.ApplyUpdatesResponse(applied_position=sequence.position)
        if with_status:
            self._told_tree = self._live.tree_number
            response.status.CopyFrom(self._live.status())
        for update in not_applied:
            response.outcomes.append(
                types_pb2.UpdateOutcome(
                    position=update.position,
                    update_id=update.update_id,
                    outcome=update.outcome,
                    reason=update.reason,
                    waits_for_member_id=update.waits_for,
                )
            )
        return response


def _log_end(log_end: treenode_pb2.LogEnd) -> LogEnd:
    sent_at_s = 0.0
    if log_end.HasField("sent_at"):
        with contextlib.suppress(ValueError):
            sent_at_s = log_end.sent_at.ToNanoseconds() / 1e9
    return LogEnd(max(1, log_end.first_position), log_end.position, log_end.import_id, sent_at_s)
