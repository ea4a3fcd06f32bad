"""The pusher's ports stay open while one part takes another one's place: calls wait for it, or are sent on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from fasttree.client.calls.servers import is_standby
from fasttree.client.errors import error_info
from fasttree.v1 import import_source_pb2_grpc, pusher_pb2, pusher_pb2_grpc
from services.pusher.ports import Answering, PusherPorts
from services.pusher.settings import PusherSettings
from services.shared.serving.channels import open_channel
from services.shared.serving.errors import FailedPreconditionError, UnavailableError
from services.shared.serving.metrics import Metrics
from services.shared.serving.ops_port import Verdict
from services.shared.telemetry.figures.reading import NewestReading
from tests.waiting import until

NEXT = "127.0.0.1:7"


class _Named(pusher_pb2_grpc.PusherServiceServicer):
    """Answers with its name; a push gets no receipt before it is to end."""

    def __init__(self, name: str) -> None:
        self.name, self.ends = name, asyncio.Event()

    async def GetPusher(self, request: Any, context: Any) -> pusher_pb2.GetPusherResponse:
        return pusher_pb2.GetPusherResponse(cluster=self.name)

    async def PushUpdates(self, request_iterator: Any, context: Any) -> AsyncIterator[pusher_pb2.PushUpdatesResponse]:
        await self.ends.wait()
        raise UnavailableError("it ends")
        yield


def _refusal() -> FailedPreconditionError:
    return FailedPreconditionError("stands by", reason="STANDBY", active=NEXT)


def part(name: str, *, stands_by: bool = False) -> Answering:
    files = import_source_pb2_grpc.ImportSourceServiceServicer()
    refusal = _refusal if stands_by else None
    return Answering(_Named(name), files, Metrics("pusher", "t_"), lambda: Verdict(True, name), refusal=refusal)


@contextlib.asynccontextmanager
async def opened(
    server: str, wait_s_max: float
) -> AsyncIterator[tuple[PusherPorts, pusher_pb2_grpc.PusherServiceAsyncStub]]:
    ports = PusherPorts(
        PusherSettings.of(listen_host="127.0.0.1", port=0, http_port=0, server=server), wait_s_max=wait_s_max
    )
    await ports.start()
    try:
        async with open_channel(f"127.0.0.1:{ports.server.port}") as channel:
            yield ports, pusher_pb2_grpc.PusherServiceStub(channel)
    finally:
        await ports.stop(0.0)


async def name_of(stub: pusher_pb2_grpc.PusherServiceAsyncStub) -> str:
    return (await stub.GetPusher(pusher_pb2.GetPusherRequest(), timeout=20)).cluster


@pytest.mark.parametrize("server", ["nghttp2", "grpcio"])
async def test_a_call_waits_for_the_part_that_is_about_to_serve(server: str) -> None:
    async with opened(server, wait_s_max=60.0) as (ports, stub):
        with pytest.raises(grpc.aio.AioRpcError, match="the pusher is starting"):
            await name_of(stub)
        ports.serve(part("one"))
        assert await name_of(stub) == "one"
        ports.hold()
        asked = asyncio.ensure_future(name_of(stub))
        await until(lambda: ports.server.calls.open["GetPusher"] == 1, "the call to wait")
        ports.serve(part("two"))
        assert await asked == "two"
        ports.hold()
        ports.let_go()
        assert await name_of(stub) == "two"


async def test_a_call_waits_no_longer_than_it_may() -> None:
    async with opened("nghttp2", wait_s_max=0.01) as (ports, stub):
        ports.serve(part("one"))
        ports.hold()
        assert await name_of(stub) == "one"


@pytest.mark.parametrize("server", ["nghttp2", "grpcio"])
@pytest.mark.parametrize("by_itself", [True, False])
async def test_whose_part_serves_no_longer_is_sent_on(server: str, by_itself: bool) -> None:
    """Whether the part ends the call, or the call outlives its grace."""
    async with opened(server, wait_s_max=0.0) as (ports, stub):
        serving = part("one")
        ports.serve(serving)
        push = stub.PushUpdates(timeout=60)
        await until(lambda: bool(serving.calls), "the push to be taken")
        ports.serve(part("two", stands_by=True))
        if by_itself:
            assert isinstance(serving.pusher, _Named)
            serving.pusher.ends.set()
        await ports.end_calls(serving, 20.0 if by_itself else 0.0)
        assert not serving.calls
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await push.read()
        info = error_info(caught.value)
        assert is_standby(caught.value)
        assert info is not None
        assert info.metadata["active"] == NEXT
        # By the same connection.
        assert await name_of(stub) == "two"


async def test_whose_part_ends_with_nobody_to_follow_is_told_to_try_again() -> None:
    async with opened("nghttp2", wait_s_max=0.0) as (ports, stub):
        serving = part("one")
        ports.serve(serving)
        push = stub.PushUpdates(timeout=60)
        await until(lambda: bool(serving.calls), "the push to be taken")
        await ports.end_calls(serving, 0.0)
        with pytest.raises(grpc.aio.AioRpcError, match="the pusher is stopping; try again") as caught:
            await push.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_collector_gets_the_figures_of_the_part_that_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    newest = NewestReading(0.005)
    monkeypatch.setattr("services.shared.serving.metrics.own_figures", lambda: newest)
    parts = {name: part(name, stands_by=name == "standby") for name in ("standby", "active")}
    for name, each in parts.items():
        each.metrics.gauge(name, f"Of the {name}.", lambda: 1)
        each.metrics.tells = name == "standby"  # the other one is made once its turn has come
    ports = PusherPorts(PusherSettings.of(listen_host="127.0.0.1", port=0, http_port=0))
    try:
        for name in ("standby", "active", "standby"):
            ports.serve(parts[name])
            newest.take()
            for _ in range(4):
                await until(lambda: bool(newest._waiting), "a reading")
                reading = newest.take()
                assert reading is not None
                assert [figure.name for figure in reading.figures] == [f"t_{name}"]
    finally:
        for each in parts.values():
            each.metrics.close()
