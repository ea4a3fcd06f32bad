"""One ApplyUpdates stream, as a pusher keeps it: says what a test wants, and hears the node's words."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import grpc.aio

from fasttree.v1 import treenode_pb2, treenode_pb2_grpc
from services.shared.rules import rules_message
from services.shared.serving.channels import open_channel
from tests.fakes.pusher import FOUNDING, FakePusher
from tests.fakes.server import CLUSTER


class AnyNode(Protocol):
    """A node, real or not. `address`: of its instant port, or with that in it."""

    address: Any


def instant_of(node: AnyNode) -> str:
    """host:port at which it takes updates."""
    return str(getattr(node.address, "instant", node.address))


class Stream:
    """One ApplyUpdates stream, as a pusher keeps it."""

    def __init__(self, node: AnyNode, pusher: FakePusher) -> None:
        self._pusher = pusher
        self._channel = open_channel(instant_of(node))
        self._call = treenode_pb2_grpc.TreeNodeServiceStub(self._channel).ApplyUpdates()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()
        await self._channel.close()

    async def hello(self, cluster: str = CLUSTER, replaces: Sequence[str] = ()) -> treenode_pb2.ApplyUpdatesResponse:
        hello = treenode_pb2.PusherHello(
            cluster=cluster,
            log_id=self._pusher.log_id,
            pusher_address=self._pusher.address,
            replaced_log_ids=replaces,
            adopted_reason="test" if replaces else "",
            founding_rules=rules_message(FOUNDING),
        )
        return await self.ask(treenode_pb2.ApplyUpdatesRequest(hello=hello, log_end=self._pusher.log_end()))

    async def send(self, positions: Iterable[int]) -> treenode_pb2.ApplyUpdatesResponse:
        return await self.send_records([self._pusher.record(position) for position in positions])

    async def send_records(self, records: Sequence[treenode_pb2.LogRecord]) -> treenode_pb2.ApplyUpdatesResponse:
        answer = await self.ask(treenode_pb2.ApplyUpdatesRequest(records=records, log_end=self._pusher.log_end()))
        if records and answer.HasField("status") and answer.applied_position < records[-1].position:
            answer = await self.read()  # the other was the node's own word on a tree that it took meanwhile
        return answer

    async def ask(self, request: treenode_pb2.ApplyUpdatesRequest) -> treenode_pb2.ApplyUpdatesResponse:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._call.write(request)
        return await self.read()

    async def read(self) -> treenode_pb2.ApplyUpdatesResponse:
        """The node's next word."""
        try:
            response = await self._call.read()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise EndedError(await self._call.code(), await self._call.details()) from None
        if response is grpc.aio.EOF:
            raise EndedError(await self._call.code(), await self._call.details())
        assert isinstance(response, treenode_pb2.ApplyUpdatesResponse)
        return response

    async def ended(self) -> EndedError:
        """How the node ended the stream."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            assert await self._call.read() is grpc.aio.EOF
        return EndedError(await self._call.code(), await self._call.details())


class EndedError(Exception):
    """The node ended the stream."""

    def __init__(self, code: grpc.StatusCode, details: str | None) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details or ""
