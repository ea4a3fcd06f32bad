"""Streams to nodes, by each client, to each server: they say the same."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fasttree.v1 import treenode_pb2, treenode_pb2_grpc
from services.shared.serving import streams
from services.shared.serving.errors import DataLossError
from services.shared.serving.server import GrpcServer
from services.shared.serving.settings import ServingSettings
from services.shared.serving.streams import CallStream, StreamError, open_stream
from tests.waiting import until

METHOD = "/fasttree.v1.TreeNodeService/ApplyUpdates"
DEADLINE_S = 60.0
Request = treenode_pb2.ApplyUpdatesRequest
Response = treenode_pb2.ApplyUpdatesResponse


@pytest.fixture(params=["nghttp2", "grpcio"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which one calls: the second where ngh2 is missing."""
    if request.param == "grpcio":
        monkeypatch.setattr(streams, "ClientStream", None)
    return str(request.param)


class Node(treenode_pb2_grpc.TreeNodeServiceServicer):
    """Confirms each position, until one that it does not like."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.left = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self.got: list[int] = []

    async def ApplyUpdates(self, request_iterator: Any, context: Any) -> AsyncIterator[Response]:
        self.begun.set()
        try:
            async for request in request_iterator:
                self.got.append(request.log_end.position)
                if request.log_end.position == 666:
                    raise DataLossError("über 100 %", reason="DAMAGED", field="records")
                yield Response(applied_position=request.log_end.position)
                await self.reads.wait()
        finally:
            self.left.set()


@contextlib.asynccontextmanager
async def serving(node: Node, server: str = "nghttp2") -> AsyncIterator[str]:
    served = GrpcServer(
        "127.0.0.1:0",
        [(treenode_pb2_grpc.add_TreeNodeServiceServicer_to_server, node)],
        ["fasttree.v1.TreeNodeService"],
        ServingSettings(server=server),
    )
    port = await served.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await served.stop(0)


@contextlib.asynccontextmanager
async def calling(address: str, method: str = METHOD) -> AsyncIterator[CallStream]:
    async with asyncio.timeout(DEADLINE_S):
        stream = await open_stream(address, method)
        try:
            yield stream
        finally:
            await stream.close()


def at(position: int, padding: int = 0) -> bytes:
    request = Request(log_end=treenode_pb2.LogEnd(position=position))
    if padding:
        request.records.add(update=bytes(padding))
    return request.SerializeToString()


async def positions(stream: CallStream) -> AsyncIterator[int]:
    async for message in stream.read():
        yield Response.FromString(message).applied_position


@pytest.mark.parametrize("server", ["nghttp2", "grpcio"])
async def test_what_is_written_comes_and_is_answered_in_order(client: str, server: str) -> None:
    async with serving(Node(), server) as address, calling(address) as stream:
        said = positions(stream)
        for position in range(1, 200):
            await stream.write(at(position))
        assert [await anext(said) for _ in range(1, 200)] == list(range(1, 200))


async def test_large_messages_pass(client: str) -> None:
    async with serving(Node()) as address, calling(address) as stream:
        said = positions(stream)
        for position in (1, 2, 3):
            await stream.write(at(position, 5_000_000))
            assert await anext(said) == position


async def test_a_node_that_reads_no_further_holds_up_who_writes(client: str) -> None:
    node = Node()
    node.reads.clear()
    async with serving(node) as address, calling(address) as stream:
        written = 0

        async def write() -> None:
            nonlocal written
            for position in range(1, 101):
                await stream.write(at(position, 1_000_000))
                written = position

        writing = asyncio.create_task(write())
        await until(lambda: node.got, "the first one to come")
        before = -1
        while before != written:
            before = written
            await asyncio.sleep(0.2)
        assert written < 100
        node.reads.set()
        await writing
        await until(lambda: node.got == list(range(1, 101)), "the rest to come")


async def test_how_the_node_ends_it_is_told_in_its_words(client: str) -> None:
    async with serving(Node()) as address, calling(address) as stream:
        await stream.write(at(1))
        await stream.write(at(666))
        said = positions(stream)
        assert await anext(said) == 1
        with pytest.raises(StreamError, match=r"^DATA_LOSS: über 100 %$"):
            await anext(said)
        with pytest.raises(StreamError):
            while True:
                await stream.write(at(2))
                await asyncio.sleep(0.01)


async def test_a_node_without_the_method_is_told(client: str) -> None:
    async with serving(Node()) as address, calling(address, "/fasttree.v1.TreeNodeService/Later") as stream:
        with pytest.raises(StreamError, match=r"^UNIMPLEMENTED: "):
            await anext(positions(stream))


async def test_who_closes_leaves_the_node_free(client: str) -> None:
    node = Node()
    async with serving(node) as address:
        async with calling(address) as stream:
            await stream.write(at(1))
            await asyncio.wait_for(node.begun.wait(), DEADLINE_S)
        await asyncio.wait_for(node.left.wait(), DEADLINE_S)


async def test_a_server_that_ends_ends_the_stream(client: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        server = contextlib.AsyncExitStack()
        address = await server.enter_async_context(serving(Node()))
        stream = await stack.enter_async_context(calling(address))
        said = positions(stream)
        await stream.write(at(1))
        assert await anext(said) == 1
        await server.aclose()
        with pytest.raises(StreamError, match=r"UNAVAILABLE|CANCELLED"):
            await anext(said)


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


async def test_where_nobody_is_it_is_said_with_the_address(client: str) -> None:
    address = nobody()
    with pytest.raises(StreamError, match=rf"^UNAVAILABLE: .*{address}"):
        async with calling(address) as stream:
            await anext(positions(stream))


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 4_000], ids=["", "HTTP/1", "zeros"])
async def test_a_peer_that_is_no_node_ends_it(client: str, says: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(StreamError, match=r"^UNAVAILABLE: "):
        async with calling(address) as stream:
            await anext(positions(stream))
    server.close()


async def test_who_is_cancelled_while_a_node_is_called_leaves_nothing(client: str) -> None:
    """Also where the address takes connections and says nothing."""
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen()

    async def call() -> None:
        async with calling(f"127.0.0.1:{silent.getsockname()[1]}") as stream:
            await anext(positions(stream))

    task = asyncio.create_task(call())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    silent.close()
