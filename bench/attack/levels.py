"""The same harmless call, hundreds of thousands of times: what a node holds for those that are over comes to a level.

Refused calls, waits that nobody had patience for, and streams that were left make garbage of every kind that a call
makes: contexts, tasks, errors with their details, timers, copies of rows. Where something keeps a little of each, no
single call shows it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import grpc
import grpc.aio

from bench.attack.target import NotHeldOffError, Target, only
from bench.cluster.cluster import ClusterError, resident_mb, wait_for
from fasttree.v1 import pusher_pb2, report_pb2, report_pb2_grpc

#: What a node's memory may still grow by in the second half of the calls, in megabytes: it breathes by a few.
GROWTH_MB_MAX = 24.0
#: Memory is given back when garbage is looked for: it may be awaited for so long, in seconds.
_SETTLE_S = 60.0

_Stub: TypeAlias = "report_pb2_grpc.ReportServiceAsyncStub"
#: Makes one call, and returns what came of it.
_Call: TypeAlias = "Callable[[_Stub], Awaitable[grpc.StatusCode]]"


async def _many(stubs: list[_Stub], call: _Call, count: int, at_once: int) -> set[grpc.StatusCode]:
    """So many calls, some at a time; every way in which they ended."""
    found: set[grpc.StatusCode] = set()
    left = iter(range(count))

    async def one_after_another(stub: _Stub) -> None:
        for _ in left:
            found.add(await call(stub))

    await asyncio.gather(*(one_after_another(stubs[number % len(stubs)]) for number in range(at_once)))
    return found


async def _level(target: Target, what: str, call: _Call, count: int, at_once: int, *codes: grpc.StatusCode) -> str:
    """Makes the calls in two halves; the second may leave no more than `GROWTH_MB_MAX` behind.

    Raises:
        NotHeldOffError: It does, or a call ended otherwise than with one of the codes.
    """
    stubs = [target.reports_of(0) for _ in range(4)]
    pid = int(target.endpoints["nodes"][0]["pid"])
    half = max(1, count // 2)
    only(await _many(stubs, call, half, at_once), *codes, what=what)
    first_mb = resident_mb(pid)
    only(await _many(stubs, call, half, at_once), *codes, what=what)

    async def is_level() -> bool:
        return resident_mb(pid) - first_mb <= GROWTH_MB_MAX

    with contextlib.suppress(ClusterError):
        await wait_for(is_level, _SETTLE_S, "memory that is given back")
    growth_mb = resident_mb(pid) - first_mb
    if growth_mb > GROWTH_MB_MAX:
        raise NotHeldOffError(f"{what}: {growth_mb:.0f} MB more after {half} further ones ({first_mb:.0f} MB before)")
    return f"{2 * half} calls, {growth_mb:+.0f} MB in the second half of them"


async def _code_of(call: Awaitable[object]) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def refused_calls(target: Target) -> str:
    """300,000 reads of a member that does not exist."""
    request = report_pb2.GetMemberRequest(member_id="nobody-of-that-name")

    async def refused(stub: _Stub) -> grpc.StatusCode:
        return await _code_of(stub.GetMember(request))

    count = target.count(300_000)
    return await _level(target, "a read of nobody", refused, count, 200, grpc.StatusCode.NOT_FOUND)


async def impatient_waits(target: Target) -> str:
    """100,000 reads that wait for a position, each given up before it can come."""
    end = (await target.pusher.GetPusher(pusher_pb2.GetPusherRequest())).log_end.position
    options = report_pb2.ReportOptions(min_position=end + 5_000_000)
    request = report_pb2.GetMemberRequest(member_id="1", options=options)

    async def given_up(stub: _Stub) -> grpc.StatusCode:
        return await _code_of(stub.GetMember(request, timeout=0.05))

    codes = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)
    return await _level(target, "a wait without patience", given_up, target.count(100_000), 200, *codes)


async def cancelled_streams(target: Target) -> str:
    """20,000 streams of a leg of some hundreds or thousands, each left after its first rows."""
    sizes = report_pb2.ColumnRange(column="downline_count", min="300", max="3000")
    asked = report_pb2.ListDownlineRequest(filter=report_pb2.DownlineFilter(ranges=[sizes]), page_size=1)
    heads = (await target.reports.ListDownline(asked)).members
    request = report_pb2.StreamDownlineRequest(member_id=heads[0].member_id if heads else "")

    async def left(stub: _Stub) -> grpc.StatusCode:
        call = stub.StreamDownline(request)
        try:
            await call.read()
        except grpc.aio.AioRpcError as error:
            return error.code()
        call.cancel()
        return await call.code()

    codes = (grpc.StatusCode.CANCELLED, grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED)
    return await _level(target, "a stream that is left", left, target.count(20_000), 6, *codes)


ATTACKS = (refused_calls, impatient_waits, cancelled_streams)
