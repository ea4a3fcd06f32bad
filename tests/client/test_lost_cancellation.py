"""A call of grpcio that fails as it is cancelled tells of its failure alone: whoever is cancelled ends all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc.aio import Metadata

from fasttree.client.calls.retries import Retries, with_retries
from fasttree.client.cluster import watch_cluster
from fasttree.client.push import Push, PushOptions
from tests.waiting import WAIT_S


def away() -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(), "away")


class Call:
    """A stream that fails as it is cancelled."""

    def __init__(self, asked: asyncio.Event) -> None:
        self._asked = asked

    async def read(self) -> Any:
        self._asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise away() from None

    def __aiter__(self) -> Call:
        return self

    async def __anext__(self) -> Any:
        return await self.read()

    def cancel(self) -> None:
        pass


class Stub:
    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def PushUpdates(self) -> Call:
        return Call(self.asked)

    def WatchCluster(self, request: Any) -> Call:
        return Call(self.asked)


class Servers:
    """One, which is away, and may be asked again for ever."""

    address, are_several, wait_s_max = "127.0.0.1:1", False, float("inf")

    def __init__(self) -> None:
        self.stub = Stub()

    def may_retry(self, error: grpc.aio.AioRpcError) -> bool:
        return True

    def missed(self, error: grpc.aio.AioRpcError) -> bool:
        return False


async def push(servers: Any) -> None:
    async def nothing() -> Any:
        await asyncio.Event().wait()
        yield

    async for _ in Push(servers, nothing(), PushOptions(), Retries()).receipts():
        pass


async def watch(servers: Any) -> None:
    async for _ in watch_cluster(servers, Retries()):
        pass


async def ask(servers: Any) -> None:
    await with_retries(lambda left_s: Call(servers.stub.asked).read(), Retries(), called="Ask", address="x")


@pytest.mark.parametrize("work", [push, watch, ask])
async def test_whoever_is_cancelled_ends(work: Callable[[Any], Awaitable[None]]) -> None:
    servers = Servers()
    task = asyncio.ensure_future(work(servers))
    async with asyncio.timeout(WAIT_S):
        await servers.stub.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
