"""The pusher's stream of updates, from its hello to its end."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence

from fasttree.v1 import treenode_pb2, types_pb2
from services.shared.serving.errors import (
    AbortedError,
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    UnavailableError,
)
from services.treenode.node.runner import NodeRunner
from services.treenode.node.sequence import LogEnd, LogEndHeard, PositionGapError, PusherHello, RefusePusher
from services.treenode.replication.applying import Applier, decode_records
from services.treenode.tree import NotApplied

LOG_ID_LENGTH_MAX = 128
ADDRESS_LENGTH_MAX = 300
#: Records of one message; a pusher sends some hundreds.
RECORDS_MAX = 100_000
#: Messages that are read and not yet answered; the pusher is held back beyond it.
REQUESTS_MAX = 16
#: Messages that came meanwhile are taken together, up to so many records: one answer for all of them.
TOGETHER_RECORDS_MAX = 1_000
_YEAR_10000_S = 253_402_300_800

logger = logging.getLogger(__name__)

_Requests = AsyncIterator[treenode_pb2.ApplyUpdatesRequest]


class _Inbox:
    """What a stream has brought and nobody has answered yet; whoever serves the stream waits here for all there is."""

    def __init__(self) -> None:
        self._requests: deque[treenode_pb2.ApplyUpdatesRequest] = deque()
        self._drained = asyncio.Event()
        #: Set when there is something to look at: a message, the stream's end, or a change of the node's own.
        self.changed = asyncio.Event()
        #: Whether the pusher has ended the stream.
        self.ended = False
        #: Why the node ends the stream; empty while it does not.
        self.ending = ""

    async def fill(self, requests: _Requests) -> None:
        """Reads to the stream's end. A task of its own, so that no message costs one."""
        try:
            async for request in requests:
                self._requests.append(request)
                self.changed.set()
                while len(self._requests) >= REQUESTS_MAX:
                    self._drained.clear()
                    await self._drained.wait()
        finally:
            self.ended = True
            self.changed.set()

    def take(self) -> list[treenode_pb2.ApplyUpdatesRequest]:
        """The next messages, as many as are taken together; empty where none is there."""
        taken: list[treenode_pb2.ApplyUpdatesRequest] = []
        records = 0
        while self._requests and (not taken or self._goes_with(taken[-1], records)):
            taken.append(self._requests.popleft())
            records += len(taken[-1].records)
        self._drained.set()
        if self._requests:
            self.changed.set()
        return taken

    def _goes_with(self, before: treenode_pb2.ApplyUpdatesRequest, records: int) -> bool:
        """Whether the next message's records follow those of the one before. Others are judged by themselves: after a
        new word on where the node stands, records come again."""
        following = self._requests[0].records
        if not following or not before.records:
            return False
        together = records + len(following) <= TOGETHER_RECORDS_MAX
        return together and following[0].position == before.records[-1].position + 1


class UpdateStreams:
    """Takes one pusher's stream at a time; a newer one ends the older."""

    def __init__(self, node: NodeRunner, applier: Applier) -> None:
        self._node = node
        self._applier = applier
        #: Of the stream that is served now.
        self._inbox: _Inbox | None = None
        #: host:port of the pusher as it introduced itself; empty before.
        self.pusher_address = ""
        #: Number of the tree whose status the pusher was last told; another one now means telling it anew.
        self._told_tree = 0
        node.on_tree_changed = self._tell

    async def serve(self, requests: _Requests) -> AsyncIterator[treenode_pb2.ApplyUpdatesResponse]:
        """Answers the hello with the node's status, each batch with how far the node is.

        Raises what the proto says of ApplyUpdates.
        """
        request = await anext(requests, None)
        if request is None or not request.HasField("hello"):
            raise InvalidArgumentError("the first message must hold the pusher's hello", field="hello")
        await self._node.restored.wait()
        inbox = self._take_over()
        refusal = self._meet(request)
        if refusal:
            # Where the node stands goes out first: a pusher whose log lost updates must know which node has them, and
            # keep it out once its log has grown past them with others.
            yield self._response([], with_status=True)
            raise FailedPreconditionError(refusal, reason="PUSHER_REFUSED")
        yield self._response([], with_status=True)
        filling = asyncio.create_task(inbox.fill(requests))
        try:
            while True:
                await inbox.changed.wait()
                inbox.changed.clear()
                if inbox.ending:
                    raise AbortedError(inbox.ending)
                if taken := inbox.take():
                    yield await self._take(request.hello.log_id, taken)
                elif inbox.ended:
                    await filling
                    return
                elif self._told_tree != self._node.tree_number:
                    # The pusher goes on from where the new tree stands; it must not wait for its own next message.
                    yield self._response([], with_status=True)
        finally:
            filling.cancel()
            if self._inbox is inbox:
                self._inbox = None

    def end(self, reason: str) -> None:
        """Ends the stream that is served now, if there is one."""
        if self._inbox is not None and not self._inbox.ending:
            self._inbox.ending = reason
            self._inbox.changed.set()

    def _take_over(self) -> _Inbox:
        self.end("a newer stream of the pusher took the place of this one")
        self._inbox = _Inbox()
        return self._inbox

    def _tell(self) -> None:
        if self._inbox is not None:
            self._inbox.changed.set()

    def _meet(self, request: treenode_pb2.ApplyUpdatesRequest) -> str:
        """Takes the hello; says why the node refuses this pusher, if it does."""
        hello = request.hello
        ours = self._node.cluster.name
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
        for action in self._node.handle(PusherHello(hello.log_id, _log_end(request.log_end))):
            if isinstance(action, RefusePusher):
                return action.reason
        self.pusher_address = hello.pusher_address
        self._node.applied()
        logger.info("pusher %s speaks: log %s", hello.pusher_address, hello.log_id)
        return ""

    async def _take(
        self, log_id: str, requests: Sequence[treenode_pb2.ApplyUpdatesRequest]
    ) -> treenode_pb2.ApplyUpdatesResponse:
        """Applies what messages bring, one after another; one answer for all of them."""
        # Each log end covers those before it.
        newest = next((request for request in reversed(requests) if request.HasField("log_end")), None)
        if newest is not None:
            self._node.handle(LogEndHeard(_log_end(newest.log_end)))
        not_applied: list[NotApplied] = []
        if any(request.records for request in requests):
            if any(len(request.records) > RECORDS_MAX for request in requests):
                raise InvalidArgumentError(f"at most {RECORDS_MAX} records fit into one message", field="records")
            records = [record for request in requests for record in request.records]
            positions, updates, damage = decode_records(records)
            position_before = self._node.core.sequence.position
            try:
                not_applied = await self._applier.apply(log_id, positions, updates)
            except PositionGapError as error:
                raise DataLossError(str(error), reason="POSITION_GAP", field="records") from error
            # Not one that came again: what the node has there may be another one.
            if positions and position_before < positions[-1] <= self._node.core.sequence.position:
                self._node.last_record = (positions[-1], records[len(positions) - 1].crc32)
            if damage is not None:
                raise DataLossError(str(damage), reason="RECORD_DAMAGED", field="records")
        else:
            self._node.applied()
        if self._node.fatal is not None:
            raise UnavailableError("the node ends; its log says why")
        return self._response(not_applied, with_status=self._told_tree != self._node.tree_number)

    def _response(self, not_applied: list[NotApplied], *, with_status: bool) -> treenode_pb2.ApplyUpdatesResponse:
        sequence = self._node.core.sequence
        response = treenode_pb2.ApplyUpdatesResponse(applied_position=sequence.position)
        if with_status:
            self._told_tree = self._node.tree_number
            response.status.CopyFrom(self._node.status())
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
    sent_at = log_end.sent_at
    # A time that no clock shows counts as none: it would be copied into every answer.
    known = log_end.HasField("sent_at") and 0 < sent_at.seconds < _YEAR_10000_S and 0 <= sent_at.nanos < 10**9
    sent_at_s = sent_at.seconds + sent_at.nanos / 1e9 if known else 0.0
    return LogEnd(max(1, log_end.first_position), log_end.position, log_end.import_id, sent_at_s)
