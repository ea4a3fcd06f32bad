"""Peers at their socket's end."""

from __future__ import annotations

import asyncio
import time

from ngh2 import Configuration, Connection, ResponseReceived, Role, Setting, TrailersReceived

from fasttree.v1 import report_pb2, report_pb2_grpc, types_pb2
from services.shared.serving.connections import End
from services.shared.serving.http2.protocol import TURN_S
from tests.shared.http2.peer import HEADERS, framed
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


class Working(report_pb2_grpc.ReportServiceServicer):
    """Works on each call for longer than a turn is."""

    def __init__(self) -> None:
        self.answered: list[str] = []

    async def GetMember(self, request, context):
        time.sleep(2 * TURN_S)  # noqa: ASYNC251 - work that holds the loop is what this is about
        self.answered.append(request.member_id)
        return report_pb2.GetMemberResponse()


class Caller:
    """A client's side, by hand."""

    def __init__(self) -> None:
        self.client = Connection(Role.CLIENT, Configuration(auto_window_update=False))
        self.client.initiate_connection({})
        self.statuses: list[bytes] = []

    def calls(self, member_id: str, count: int) -> bytes:
        asked = dict(HEADERS) | {b":path": b"/fasttree.v1.ReportService/GetMember"}
        body = framed(report_pb2.GetMemberRequest(member_id=member_id).SerializeToString())
        for _ in range(count):
            self.client.send_data(self.client.send_request(tuple(asked.items())), body, end_stream=True)
        return self.client.data_to_send()

    def take(self, data: bytes) -> None:
        self.client.receive_data(data)
        for event in self.client.events():
            if isinstance(event, ResponseReceived | TrailersReceived):
                self.statuses += [value for name, value in event.headers if name == b"grpc-status"]


async def test_many_calls_in_one_piece_hold_up_nobody() -> None:
    service = Working()
    async with asyncio.timeout(DEADLINE_S), Served(service=service) as served:
        many, other = await served.raw(), await served.raw()
        many[1].write(Caller().calls("many", 100))
        await until(lambda: len(service.answered) > 0, "the first of many")
        other[1].write(Caller().calls("other", 1))
        await until(lambda: "other" in service.answered, "the other")
        assert service.answered.count("many") < 100
        await until(lambda: len(service.answered) == 101, "all of them")
        for _, writer in (many, other):
            writer.transport.abort()


async def test_calls_that_had_no_turn_yet_are_told_of_a_stop() -> None:
    service, caller = Working(), Caller()
    async with asyncio.timeout(DEADLINE_S), Served(service=service) as served:
        reader, writer = await served.raw()
        writer.write(caller.calls("many", 40))
        await until(lambda: len(service.answered) > 0, "the first of them")
        assert len(service.answered) < 40
        stopping = asyncio.create_task(served.server.stop(0))
        while len(caller.statuses) < 40:
            caller.take(await reader.read(1 << 16))
        assert set(caller.statuses) == {b"0", b"14"}
        writer.transport.abort()
        await stopping


async def test_a_fault_costs_its_own_connection_and_no_other() -> None:
    async with asyncio.timeout(DEADLINE_S), Served(hello_s=2.0) as served:
        faulty, silent = await served.raw(), await served.raw()
        await until(lambda: served.counts.open == 2, "both")
        (one, *_) = served.server.__dict__["_connections"]
        one.core.tick = None
        await until(lambda: served.counts.ended[End.FAULT] == 1, "the end of the one")
        await until(lambda: served.counts.ended[End.IDLE] == 1, "the end of the other, whose time is up")
        for _, writer in (faulty, silent):
            writer.transport.abort()


class Large(report_pb2_grpc.ReportServiceServicer):
    async def GetMember(self, request, context):
        return report_pb2.GetMemberResponse(member=types_pb2.Member(member_id="x" * 200_000))


async def test_calls_of_one_read_are_served_until_their_answers_are_too_much() -> None:
    caller = Caller()
    async with asyncio.timeout(DEADLINE_S), Served(service=Large(), unsent_max=1_000_000) as served:
        reader, writer = await served.raw()
        writer.write(caller.calls("any", 40))
        while len(caller.statuses) < 30:
            caller.take(await reader.read(1 << 16))  # windows are opened by nobody
        assert set(caller.statuses) == {b"8"}
        writer.transport.abort()
