"""Reports that cost more than their size, held without an end, or left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable

import grpc
import grpc.aio

from bench.attack.target import NotHeldOffError, Target, only, outcomes, refused
from fasttree.v1 import pusher_pb2, report_pb2, treenode_pb2, types_pb2

_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
_OK = grpc.StatusCode.OK
_CUSTOMER = types_pb2.MEMBER_KIND_CUSTOMER
_downline = report_pb2.ListDownlineRequest
_COLUMNS = ("member_id", "sponsor_id", "kind", "status", "rank", "joined_on", "level", "pv", "gv", "downline_count")


def _filtered(ranges: int, values: int) -> report_pb2.ListDownlineRequest:
    any_of = [str(value) for value in range(values)]
    every = [report_pb2.ColumnRange(column="pv", any_of=any_of)] * ranges
    return report_pb2.ListDownlineRequest(filter=report_pb2.DownlineFilter(ranges=every))


async def wide_filters(target: Target) -> str:
    """Filters of a million values, and as many ranges as fit into a message."""
    stub = target.reports
    for ranges, values in ((1_000, 1_000), (10_000, 1), (101, 1), (2, 10_000)):
        request = _filtered(ranges, values)
        call = stub.ListDownline(request)
        await refused(call, _INVALID, _EXHAUSTED, what=f"{ranges} ranges of {values} values")
    honest = _filtered(20, 100)
    found = await outcomes(stub.ListDownline(honest) for _ in range(target.count(64)))
    only(found, _OK, _EXHAUSTED, what="64 filters of the largest honest kind")
    return f"{found.count(_OK)} of {len(found)} honest ones answered"


async def long_lists(target: Target) -> str:
    """A hundred thousand columns, statuses, kinds, ids; the same one again and again."""
    stub = target.reports
    count = 100_000
    lists: dict[str, Awaitable[object]] = {
        "columns": stub.ListDownline(_downline(options=report_pb2.ReportOptions(columns=["pv"] * count))),
        "statuses": stub.ListDownline(_downline(filter=report_pb2.DownlineFilter(statuses=["A"] * count))),
        "kinds": stub.ListDownline(_downline(filter=report_pb2.DownlineFilter(kinds=[_CUSTOMER] * count))),
        "ids": stub.BatchGetMembers(report_pb2.BatchGetMembersRequest(member_ids=["1"] * 10 * count)),
    }
    for what, call in lists.items():
        await refused(call, _INVALID, _EXHAUSTED, what=f"{what} by the hundred thousand")
    return "each refused"


async def long_values(target: Target) -> str:
    """Ids, columns, tokens and periods of a kilobyte to eight megabytes."""
    refusals = 0
    for size in (1_100, 8_192, 65_536, 1 << 20, 8 << 20):
        text = "x" * size
        stub = target.reports
        options, held = report_pb2.ReportOptions, report_pb2.ListHeldUpdatesRequest
        calls: dict[str, Awaitable[object]] = {
            "an id": stub.GetMember(report_pb2.GetMemberRequest(member_id=text)),
            "a column": stub.GetMember(report_pb2.GetMemberRequest(member_id="1", options=options(columns=[text]))),
            "a period": stub.GetMember(report_pb2.GetMemberRequest(member_id="1", options=options(period=text))),
            "a page token": stub.ListDownline(_downline(page_token=text)),
            "a sort column": stub.ListDownline(_downline(sort=report_pb2.SortKey(column=text))),
            "a prefix": stub.SearchMembers(report_pb2.SearchMembersRequest(prefix=text)),
            "a prefix of update ids": stub.ListHeldUpdates(held(update_id_prefix=text)),
        }
        for what, call in calls.items():
            await refused(call, _INVALID, _EXHAUSTED, what=f"{what} of {size} bytes")
            refusals += 1
    return f"{refusals} refused"


async def sorts(target: Target) -> str:
    """Sixty sorts of all members by all columns at once: copies wait for room, or are refused."""
    stub = target.reports

    def sort(column: str) -> report_pb2.ListDownlineRequest:
        return report_pb2.ListDownlineRequest(
            sort=report_pb2.SortKey(column=column, descending=True),
            page_size=10_000,
            options=report_pb2.ReportOptions(columns=["*"]),
        )

    draw = random.Random(3)
    columns = [draw.choice(_COLUMNS) for _ in range(target.count(60))]
    found = await outcomes(stub.ListDownline(sort(column)) for column in columns)
    only(found, _OK, _EXHAUSTED, what="sorts")
    return f"{found.count(_OK)} of {len(found)} answered, the rest refused"


async def waits(target: Target) -> str:
    """Thousands of reads that wait for a position that is far away, and are cancelled one after another."""
    stubs = [target.reports_of(0) for _ in range(4)]
    end = (await target.pusher.GetPusher(pusher_pb2.GetPusherRequest())).log_end.position
    far = report_pb2.GetMemberRequest(member_id="1", options=report_pb2.ReportOptions(min_position=2**63))
    await refused(stubs[0].GetMember(far, timeout=3_600), _INVALID, grpc.StatusCode.OUT_OF_RANGE, what="2^63")
    near = report_pb2.GetMemberRequest(member_id="1", options=report_pb2.ReportOptions(min_position=end + 900_000))
    calls = [stubs[number % 4].GetMember(near, timeout=3_600) for number in range(target.count(9_000))]
    await asyncio.sleep(2)
    over = sum(call.done() for call in calls)
    for call in calls:
        call.cancel()
        await asyncio.sleep(0)
    return f"{over} of {len(calls)} refused at once, the rest cancelled"


async def digests(target: Target) -> str:
    """Thousands of digests of a position that never comes, without a deadline."""
    stubs = [target.instant(0) for _ in range(4)]
    request = treenode_pb2.GetDigestRequest(position=2**63)
    calls = [stubs[number % 4].GetDigest(request) for number in range(target.count(4_000))]
    await asyncio.wait(map(asyncio.ensure_future, map(_quietly, calls)), timeout=60)
    waiting = sum(not call.done() for call in calls)
    for call in calls:
        call.cancel()
    if waiting:
        raise NotHeldOffError(f"{waiting} calls still wait after 60 s")
    return "each ended"


async def _quietly(call: grpc.aio.Call) -> None:
    """Waits for a call's end, whatever it is."""
    await call.code()


async def left_streams(target: Target) -> str:
    """Streams of all members that nobody reads, that are left after a message, that are cancelled at once."""
    answered = 0
    for number in range(target.count(60)):
        call = target.reports_of(number % 2).StreamDownline(report_pb2.StreamDownlineRequest())
        if number % 3:
            try:
                await asyncio.wait_for(call.read(), 20)
                answered += 1
            except grpc.aio.AioRpcError as error:
                only([error.code()], _EXHAUSTED, what="a stream")
        if number % 3 < 2:
            call.cancel()
    await asyncio.sleep(1)
    last = [target.reports_of(1).StreamDownline(report_pb2.StreamDownlineRequest()) for _ in range(3)]
    for call in last:
        call.cancel()
    return f"{answered} streams begun"


ATTACKS = (wide_filters, long_lists, long_values, sorts, waits, digests, left_streams)
