"""The node's side of KeepAlive: a heartbeat every quarter of a second, and at once when something changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import AsyncIterable, AsyncIterator

import grpc.aio

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.shared.backoff import Backoff, Waits
from services.shared.serving.channels import open_channel
from services.treenode.node.role import HeartbeatSent, LeaseAnswered
from services.treenode.node.runner import NodeRunner

BACKOFF_INITIAL_S = 0.05
BACKOFF_MAX_S = 1.0
#: A coordinator that answers nothing for so many heartbeats is asked anew over another stream.
UNANSWERED_MAX = 8

logger = logging.getLogger(__name__)


class Heartbeat:
    """Keeps the node's lease with the coordinator."""

    def __init__(self, node: NodeRunner, coordinator: str, address: coordinator_pb2.NodeAddress) -> None:
        self._node = node
        self._coordinator = coordinator
        self._address = address
        self._incarnation = secrets.token_hex(16)
        self._sequence = 0
        self._unanswered = 0
        #: Name of the primary as the coordinator last said.
        self.primary = ""

    async def run(self) -> None:
        """Keeps a stream to the coordinator; ends when it is cancelled."""
        waits = Waits(Backoff(BACKOFF_INITIAL_S, BACKOFF_MAX_S, random.random))
        told = ""
        while True:
            try:
                async with open_channel(self._coordinator) as channel:
                    await self._keep(channel, waits)
                problem = "it ended the stream"
            except grpc.aio.AioRpcError as error:
                problem = f"{error.code().name}: {error.details()}"
            except TimeoutError:
                problem = f"no answer to {UNANSWERED_MAX} heartbeats"
            if problem != told:
                told = problem
                logger.warning("coordinator %s: %s", self._coordinator, problem)
            await asyncio.sleep(waits.next_s())

    async def _keep(self, channel: grpc.aio.Channel, waits: Waits) -> None:
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        self._unanswered = 0
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        call = stub.KeepAlive(self._requests(failed))
        reading = asyncio.ensure_future(self._take_answers(call, waits))
        try:
            await asyncio.wait({reading, failed}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            else:
                failed.result()
        finally:
            reading.cancel()
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                await reading
            if failed.done():
                failed.exception()
            else:
                failed.cancel()

    async def _requests(self, failed: asyncio.Future[None]) -> AsyncIterator[coordinator_pb2.KeepAliveRequest]:
        node = self._node
        while True:
            node.heartbeat_wanted.clear()
            if self._unanswered >= UNANSWERED_MAX:
                if not failed.done():
                    failed.set_exception(TimeoutError())
                return
            try:
                heartbeat = self._next_heartbeat()
            except Exception as error:
                # gRPC would only end the call.
                if not failed.done():
                    failed.set_exception(error)
                return
            yield heartbeat
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(node.settings.heartbeat_s):
                    await node.heartbeat_wanted.wait()

    def _next_heartbeat(self) -> coordinator_pb2.KeepAliveRequest:
        node = self._node
        self._sequence += 1
        self._unanswered += 1
        # Before it leaves: the lease runs from here (role.py, rule 1).
        node.handle(HeartbeatSent(self._sequence))
        return coordinator_pb2.KeepAliveRequest(
            cluster=node.cluster.name,
            node=self._address,
            status=node.status(),
            sequence=self._sequence,
            incarnation=self._incarnation,
        )

    async def _take_answers(self, call: AsyncIterable[coordinator_pb2.KeepAliveResponse], waits: Waits) -> None:
        async for answer in call:
            waits.reset()
            self._unanswered = 0
            self.primary = answer.primary
            self._node.handle(
                LeaseAnswered(
                    answer.sequence,
                    answer.role == coordinator_pb2.ROLE_PRIMARY,
                    answer.epoch,
                    answer.lease_ms / 1_000,
                )
            )
