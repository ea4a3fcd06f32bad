"""Streams whose clients take nothing."""

import asyncio
from collections.abc import Callable

import grpc
import pytest

from fasttree.v1 import report_pb2
from services.shared.serving.errors import UnavailableError
from services.treenode.reports import ReportLimits
from services.treenode.reports.streams.stalls import StallWatch
from tests.treenode.reports.conftest import Services
from tests.treenode.reports.test_while_updates_go_on import chain_and_fans

STALL_S = 0.1
#: Far more than lies in the buffers between two ends.
MEMBERS = 300_000


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what it waits for tells nobody
            await asyncio.sleep(0.01)


async def test_a_stream_that_nobody_reads_is_let_go_and_its_client_told(services: Services) -> None:
    served = await services.start(chain_and_fans(MEMBERS), ReportLimits(stream_stall_s_max=STALL_S, streams_max=1))
    call = served.stub.StreamDownline(report_pb2.StreamDownlineRequest())
    messages = aiter(call)
    assert len((await anext(messages)).members) > 0
    await until(lambda: served.servicer.streams.count == 0)
    # Its place is free for another one.
    again = served.stub.StreamDownline(report_pb2.StreamDownlineRequest())
    assert sum([len(message.members) async for message in again]) == MEMBERS
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in messages:
            pass
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "was taken" in str(caught.value.details())
    assert served.servicer.streams.count == 0


async def test_what_is_in_use_is_let_go_a_little_later() -> None:
    tries: list[int] = []

    def let_go() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("generator already executing")

    watch = StallWatch(0.001, let_go)
    watch.sending()
    await until(lambda: watch.stalled)
    assert len(tries) == 3
    with pytest.raises(UnavailableError, match="ask again"):
        watch.taken()


async def test_a_message_that_is_taken_in_time_is_no_stall() -> None:
    watch = StallWatch(60.0, lambda: None)
    watch.sending()
    watch.taken()
    watch.close()
    assert not watch.stalled
