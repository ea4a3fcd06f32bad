"""A tree node's side of KeepAlive, over real gRPC: for tests of the coordinator's service."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc

PASSIVE = coordinator_pb2.NODE_STATE_PASSIVE
PRIMARY = coordinator_pb2.NODE_STATE_PRIMARY
DRAINING = coordinator_pb2.NODE_STATE_DRAINING
ANSWER_TIMEOUT_S = 10.0


class Heartbeats:
    """Sends heartbeats when told to, and takes every role that it is given."""

    def __init__(self, channel: grpc.aio.Channel, name: str, *, incarnation: str = "", cluster: str = "dot-test"):
        self.name = name
        self.incarnation = incarnation or f"{name}-1"
        self.cluster = cluster
        self.position = 0
        self.log_id = "log"
        self.primary_epoch = 0
        self.known_epoch = 0
        self.sequence = 0
        self._channel = channel
        self._stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        self._call: Any = None
        self._beating: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begins a stream, another one where there is one."""
        self._call = self._stub.KeepAlive()

    async def send(self, state: coordinator_pb2.NodeState.ValueType = PASSIVE) -> None:
        if self._call is None:
            self.open()
        self.sequence += 1
        await self._call.write(
            coordinator_pb2.KeepAliveRequest(
                cluster=self.cluster,
                node=coordinator_pb2.NodeAddress(name=self.name, report=f"{self.name}:50100"),
                status=coordinator_pb2.NodeStatus(
                    state=PRIMARY if self.primary_epoch else state,
                    import_id=1,
                    position=self.position,
                    primary_epoch=self.primary_epoch,
                    known_epoch=self.known_epoch,
                    log_id=self.log_id,
                ),
                sequence=self.sequence,
                incarnation=self.incarnation,
            )
        )

    async def answer(self) -> coordinator_pb2.KeepAliveResponse:
        """The next answer; takes the role that it gives. Raises AioRpcError where the stream has ended."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            answer = await self._call.read()
        if answer is grpc.aio.EOF:
            code, details = await self._call.code(), await self._call.details()
            raise grpc.aio.AioRpcError(code, self._call.initial_metadata(), self._call.trailing_metadata(), details)
        assert isinstance(answer, coordinator_pb2.KeepAliveResponse)
        self.known_epoch = max(self.known_epoch, answer.epoch)
        self.primary_epoch = answer.epoch if answer.role == coordinator_pb2.ROLE_PRIMARY else 0
        return answer

    async def talk(self, state: coordinator_pb2.NodeState.ValueType = PASSIVE) -> coordinator_pb2.KeepAliveResponse:
        """A heartbeat and the answer to it; answers that came before are taken too."""
        await self.send(state)
        answer = await self.answer()
        while answer.sequence != self.sequence:
            answer = await self.answer()
        return answer

    def live(self, interval_s: float = 0.05) -> None:
        """From now on beats by itself, and at once whenever the role changed or an answer came unasked.

        Comes back when its stream ends.
        """

        async def beat() -> None:
            while True:
                await self.send()
                await asyncio.sleep(interval_s)

        async def listen() -> None:
            answered = 0
            while True:
                before = self.primary_epoch
                answer = await self.answer()
                if answer.sequence == answered or self.primary_epoch != before:
                    await self.send()
                answered = answer.sequence

        async def both() -> None:
            while True:
                tasks = [asyncio.create_task(beat()), asyncio.create_task(listen())]
                try:
                    await asyncio.gather(*tasks)
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):  # the coordinator is away
                    await asyncio.sleep(interval_s)
                    self.open()
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)

        self._beating = asyncio.create_task(both())

    async def close(self) -> None:
        """Ends the stream, as a process that is killed does."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
            self._beating = None
        if self._call is not None:
            self._call.cancel()
            self._call = None
