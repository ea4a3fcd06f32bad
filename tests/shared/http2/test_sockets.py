"""Peers at their socket's end."""

from __future__ import annotations

import asyncio

from ngh2 import Configuration, Connection, Role, Setting

from services.shared.serving.connections import End
from tests.shared.http2.peer import HEADERS
from tests.shared.http2.served import Served
from tests.waiting import until

DEADLINE_S = 60.0
_WINDOW = (1 << 31) - 1


def request_for_much() -> bytes:
    """What a client sends that lets the server write without an end."""
    client = Connection(Role.CLIENT, Configuration(auto_window_update=False))
    client.initiate_connection({Setting.INITIAL_WINDOW_SIZE: _WINDOW})
    client.set_local_window_size(_WINDOW)
    asked = dict(HEADERS) | {b":path": b"/fasttree.v1.ReportService/BatchGetMembers"}
    client.send_data(client.send_request(tuple(asked.items())), bytes(5), end_stream=True)
    return client.data_to_send()


async def test_a_peer_that_reads_nothing_is_left() -> None:
    async with asyncio.timeout(DEADLINE_S), Served(unread_s=0.5) as served:
        reader, writer = await served.raw()
        writer.write(request_for_much())
        await reader.readexactly(9)
        await until(lambda: served.counts.ended[End.IDLE] == 1, "its end")
        assert not served.counts.open
        writer.transport.abort()


async def test_a_peer_that_reads_slowly_gets_it_all() -> None:
    async with asyncio.timeout(DEADLINE_S), Served(unread_s=3.0) as served:
        reader, writer = await served.raw()
        writer.write(request_for_much())
        read = 0
        while read < 50_000_000:
            data = await reader.read(4 << 20)
            assert data
            read += len(data)
            if read % 10_000_000 < len(data):
                await asyncio.sleep(0.2)
        assert served.counts.open == 1
        writer.transport.abort()
        await until(lambda: served.counts.ended[End.CLIENT] == 1, "its end")


async def test_a_peer_that_goes_in_the_middle_of_an_answer_is_forgotten() -> None:
    async with asyncio.timeout(DEADLINE_S), Served() as served:
        reader, writer = await served.raw()
        writer.write(request_for_much())
        await reader.readexactly(1 << 20)
        writer.transport.abort()
        await until(lambda: served.counts.ended[End.CLIENT] == 1, "its end")
        assert not served.server.calls_open
