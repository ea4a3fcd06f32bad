"""A connection's orderly end: its client hears all that it was told, whatever it is sending meanwhile."""

from __future__ import annotations

import asyncio
from typing import cast

import grpc
import pytest
from ngh2 import Configuration, Connection, PingReceived, Role, TrailersReceived

from fasttree.v1 import coordinator_pb2_grpc
from services.shared.serving.connections import Connections, End
from services.shared.serving.http2.client import ClientStream
from services.shared.serving.http2.limits import Limits
from services.shared.serving.http2.messages import CallError
from services.shared.serving.http2.server import Http2Server
from services.shared.serving.http2.unsent import Farewell
from tests.shared.http2.peer import STREAM, Peer, framed, headers
from tests.waiting import until

DEADLINE_S = 60.0
_KEEP_ALIVE = "/fasttree.v1.CoordinatorService/KeepAlive"
#: A client that does not hear has as long as it wants, in a test that does not wait for that.
_LONG_S = 3_600.0
_REASON = "the coordinator is ending"


class Talking(coordinator_pb2_grpc.CoordinatorServiceServicer):
    """Listens to heartbeats until it ends."""

    def __init__(self) -> None:
        self.heard = 0
        self.ends = asyncio.Event()

    async def KeepAlive(self, request_iterator, context):
        await context.send_initial_metadata(())
        listening = asyncio.create_task(self._listen(request_iterator))
        context.add_done_callback(lambda _: listening.cancel())
        await self.ends.wait()
        await context.abort(grpc.StatusCode.UNAVAILABLE, _REASON)
        yield

    async def _listen(self, requests) -> None:
        async for _ in requests:
            self.heard += 1


class Ending:
    """A server that can be ended, its service and its figures."""

    def __init__(self, heard_in_s: float = _LONG_S) -> None:
        self.service, self.counts = Talking(), Connections("coordinator")
        self.server = Http2Server(Limits(keepalive_timeout_s=heard_in_s), 10, 10, ("too many", ()), self.counts)
        coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server(self.service, cast(grpc.aio.Server, self.server))

    async def start(self, port: int = 0) -> int:
        return await self.server.start(f"127.0.0.1:{port}")

    def stop(self) -> asyncio.Task[None]:
        self.service.ends.set()
        return asyncio.create_task(self.server.stop(_LONG_S))


class Beating:
    """A client that goes on to send, by hand: it answers a ping when the test says so."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._h2 = Connection(Role.CLIENT, Configuration())
        self._h2.initiate_connection({})
        self.pings: list[bytes] = []
        self.trailers: dict[bytes, bytes] = {}

    async def begin(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        stream_id = self._h2.send_request(headers(_KEEP_ALIVE.encode()))
        heartbeat = framed(b"")
        self._heartbeat = bytes((0, 0, len(heartbeat), 0, 0)) + stream_id.to_bytes(4, "big") + heartbeat
        self.answer()
        await self.beat()

    async def beat(self) -> None:
        """A heartbeat. Raises OSError where the server has closed."""
        self.writer.write(self._heartbeat)
        await self.writer.drain()

    def answer(self) -> None:
        """What is due to what was heard."""
        self.writer.write(self._h2.data_to_send())

    async def hear(self) -> None:
        """What comes next; answers nothing."""
        data = await self.reader.read(1 << 16)
        assert data, "the server has closed"
        self._h2.receive_data(data)
        for event in self._h2.events():
            if isinstance(event, TrailersReceived):
                self.trailers = dict(event.headers)
            elif isinstance(event, PingReceived):
                self.pings.append(event.opaque_data)


async def test_who_goes_on_to_send_hears_the_reason_and_is_let_go_once_it_has() -> None:
    ending = Ending()
    client = Beating(await ending.start())
    async with asyncio.timeout(DEADLINE_S):
        await client.begin()
        await until(lambda: ending.service.heard > 0, "a heartbeat")
        stopping = ending.stop()
        while not client.trailers:
            await client.hear()
            await client.beat()
        assert client.trailers[b"grpc-message"].decode() == _REASON
        while not any(ping.startswith(b"bye") for ping in client.pings):
            await client.hear()
        # It has not said that it knows: its heartbeats still meet an open door, however many they are.
        for _ in range(100):
            await client.beat()
            await asyncio.sleep(0)
        assert not stopping.done()
        assert ending.counts.open == 1
        client.answer()
        await stopping
        rest = [data async for data in client.reader]
    assert b"".join(rest)[3:4] == b"\7"  # the last call that was heard, then the end: no reset
    assert ending.counts.ended[End.DRAIN] == 1
    client.writer.close()


async def test_who_does_not_hear_has_its_time_and_no_more() -> None:
    ending = Ending(heard_in_s=0.2)
    client = Beating(await ending.start())
    async with asyncio.timeout(DEADLINE_S):
        await client.begin()
        await until(lambda: ending.service.heard > 0, "a heartbeat")
        await ending.stop()
    assert ending.counts.open == 0
    client.writer.transport.abort()


async def test_who_gives_way_waits_for_no_client() -> None:
    ending, other = Ending(), Ending()
    port = await ending.start()
    client = Beating(port)
    async with asyncio.timeout(DEADLINE_S):
        await client.begin()
        await until(lambda: ending.service.heard > 0, "a heartbeat")
        await ending.server.give_way()
        assert ending.counts.open == 1
        await other.start(port)
        while not client.trailers:
            await client.hear()
        assert client.trailers[b"grpc-status"] == b"14"
        client.answer()
        await until(lambda: ending.counts.open == 0, "the end of its connection")
        await other.server.stop(0)


async def test_our_own_client_hears_the_reason_and_goes() -> None:
    ending = Ending()
    port = await ending.start()
    async with asyncio.timeout(DEADLINE_S):
        stream = await ClientStream.open(f"127.0.0.1:{port}", _KEEP_ALIVE, Limits())
        await stream.write(b"")
        await until(lambda: ending.service.heard > 0, "a heartbeat")
        stopping = ending.stop()
        with pytest.raises(CallError, match=_REASON):
            await anext(stream)
        await stopping
    stream.close()


def test_an_answer_that_came_late_asks_again() -> None:
    """What a client has read is told by the ping behind it, not by one before."""
    peer = Peer()
    first, second = (peer.call(path=STREAM, end=False) for _ in range(2))
    peer.core.end(first, grpc.StatusCode.OK)
    peer.core.drain()
    peer.exchange()
    assert not peer.core.farewell.is_asked  # there is one under way
    peer.core.end(second, grpc.StatusCode.UNAVAILABLE, _REASON)
    said = peer.core.outgoing()
    assert said.index(b"bye00001") > len(said) - 10
    assert not peer.core.over
    peer.client.receive_data(said)
    peer.core.receive(peer.client.data_to_send(), 1.0)
    assert peer.core.over is End.DRAIN


def test_a_farewell_to_which_more_was_added_is_not_heard_by_its_first_answer() -> None:
    farewell = Farewell()
    first = farewell.ask()
    farewell.is_asked = False
    assert not farewell.hears(first)
    second = farewell.ask()
    assert not farewell.hears(first)
    assert farewell.hears(second)
    assert farewell.is_heard
