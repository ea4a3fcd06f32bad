"""Ten times as many reads as a node can do, then ten times as many pushes: `make bench-overload SECONDS=60`.

Real processes, as `fasttree up` starts them; orders go on beside. First what a node's port answers of summaries of a
whole downline (a quarter of a millisecond of work each; `--report page`: of its pages, which take several times that)
when it is asked as fast as it answers: its capacity. Then 1 x: seven tenths of that by the clock; 10 x: ten times the
capacity, for SECONDS; and 1 x again. Each call has a deadline of a second, at which its client leaves. A refusal costs
a node some 8 microseconds, whatever was asked for. The pusher gets orders over as many streams as fill it, over ten
times as many, and over as many again.

The last line is JSON: capacity_per_s, goodput_ratio (answered in time at 10 x, of the capacity; by_processor: for each
second of a processor that the node had, where others work beside), p99_ms, p99_ms_over and p99_ms_after,
back_to_normal_s, memory_grown_mb, elections, applied_gap_s (the longest time in which a node's position did not move),
statuses (at 10 x, by gRPC's numbers), and with pushes_ in front what the pusher did. It ends with 1 where a promise is
broken: an election, no update applied for a minute, or memory that grew by more than 200 MB (a pusher's by 600: what
its server holds of requests that wait is bounded by 512 MiB).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio
import uvloop
from google.protobuf.message import Message

from bench.cluster.cluster import RunningCluster, cpu_s, resident_mb
from bench.engine.genealogy import make_genealogy
from bench.failover import trickle
from bench.fanout import loaded_cluster, say
from bench.overload.flood import LATE, LOST, OK, Flood, Seen
from bench.overload.pushes import push_overload
from fasttree.v1 import report_pb2

_PAGE_ROWS = 1_000
#: What may be asked for, by name: the method, and the request for a member's downline.
_REPORTS: dict[str, tuple[str, Callable[[str], Message]]] = {
    "summary": ("SummarizeDownline", lambda top: report_pb2.SummarizeDownlineRequest(member_id=top)),
    "page": ("ListDownline", lambda top: report_pb2.ListDownlineRequest(member_id=top, page_size=_PAGE_ROWS)),
}
_UNDER_WAY = 16
_NORMAL_SHARE, _TIMES = 0.7, 10
ORDERS_PER_S = 20.0
_LOOK_S = 0.2
#: By what a figure's name begins with.
_MEMORY_MB_MAX = {"": 200.0, "pushes_": 600.0}
_APPLIED_GAP_S_MAX = 60.0
#: How far above the p99 of before counts as normal again, in milliseconds.
_NORMAL_MORE_MS = 50.0


class Watch:
    """One node's memory, position and epoch, looked at all the time."""

    def __init__(self, cluster: RunningCluster, part: str) -> None:
        self._cluster, self._part = cluster, part
        self.before_mb = self.largest_mb = resident_mb(cluster.pid_of(part))
        self.applied_gap_s = 0.0
        self._seen = dict.fromkeys(cluster.node_names, -1)
        self._task: asyncio.Task[None] | None = None

    def orders_begin(self) -> None:
        """Until now there was nothing to apply."""
        self._moved_s = dict.fromkeys(self._seen, time.monotonic())

    async def _run(self) -> None:
        while True:
            self.largest_mb = max(self.largest_mb, resident_mb(self._cluster.pid_of(self._part)))
            for name in self._seen:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    position = (await self._cluster.node_status(name)).status.position
                    if position > self._seen[name]:
                        self._seen[name], self._moved_s[name] = position, time.monotonic()
                self.applied_gap_s = max(self.applied_gap_s, time.monotonic() - self._moved_s[name])
            await asyncio.sleep(_LOOK_S)

    async def __aenter__(self) -> Watch:
        self._epoch = (await self._cluster.cluster()).epoch
        self.orders_begin()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.elections = (await self._cluster.cluster()).epoch - self._epoch

    def figures(self) -> dict[str, Any]:
        """What was seen."""
        return {
            "memory_grown_mb": round(self.largest_mb - self.before_mb, 1),
            "elections": self.elections,
            "applied_gap_s": round(self.applied_gap_s, 2),
        }


@contextlib.asynccontextmanager
async def orders_beside(cluster: RunningCluster, member_ids: list[str]) -> AsyncIterator[None]:
    """A few all the time. Raises what ended them."""
    pushing = asyncio.create_task(trickle(cluster, member_ids, ORDERS_PER_S))
    try:
        yield
        if pushing.done():
            pushing.result()
    finally:
        pushing.cancel()
        await asyncio.gather(pushing, return_exceptions=True)


def back_to_normal_s(seen: Seen, since_s: float, normal_ms: float) -> float:
    """From when on, in seconds after `since_s`, every second's p99 is as it was before the flood."""
    last_s = max((begun_s for begun_s, _ in seen.answers), default=since_s)
    seconds = range(max(1, math.ceil(last_s - since_s)))
    bad = [at for at in seconds if seen.p99_ms(since_s + at, since_s + at + 1) > normal_ms * 2 + _NORMAL_MORE_MS]
    return max(bad, default=-1) + 1.0


async def read_overload(
    cluster: RunningCluster, report: str, top: str, seconds: float, short_s: float, deadline_s: float
) -> dict[str, Any]:
    """The figures of one node under too many reads."""
    name = await cluster.wait_primary()
    method, request_for = _REPORTS[report]
    request = request_for(top).SerializeToString()
    async with (
        Watch(cluster, name) as watch,
        Flood(cluster.node(name)["report"], f"/fasttree.v1.ReportService/{method}", [request], deadline_s) as flood,
    ):
        await flood.as_fast_as_answered(_UNDER_WAY, short_s / 2)
        pid, used_s = cluster.pid_of(name), cpu_s(cluster.pid_of(name))
        found = await flood.as_fast_as_answered(_UNDER_WAY, short_s)
        capacity, by_processor = found.ended[OK] / short_s, found.ended[OK] / (cpu_s(pid) - used_s)
        say(f"{capacity:,.0f} calls of {method} a second by one node, {_UNDER_WAY} under way")
        before = await flood.at_rate(capacity * _NORMAL_SHARE, short_s)
        say(f"1 x: p99 {before.p99_ms():.1f} ms, {dict(before.ended)}")
        used_s = cpu_s(pid)
        over = await flood.at_rate(capacity * _TIMES, seconds)
        goodput, used_s = over.ended[OK] / seconds, cpu_s(pid) - used_s
        say(f"10 x: {goodput:,.0f} a second answered in time, p99 {over.p99_ms():.0f} ms, {dict(over.ended)}")
        since_s = time.monotonic()
        after = await flood.at_rate(capacity * _NORMAL_SHARE, max(short_s, 6.0))
        say(f"1 x again: p99 {after.p99_ms():.1f} ms, {dict(after.ended)}")
    return {
        "capacity_per_s": round(capacity),
        "offered_per_s": round(over.begun / seconds),
        "goodput_ratio": round(goodput / capacity, 3) if capacity else 0.0,
        "goodput_ratio_by_processor": round(over.ended[OK] / used_s / by_processor, 3),
        "p99_ms": round(before.p99_ms(), 1),
        "p99_ms_over": round(over.p99_ms(), 1) if over.answers else None,
        "p99_ms_after": round(after.p99_ms(), 1) if after.answers else None,
        "back_to_normal_s": back_to_normal_s(after, since_s, before.p99_ms()),
        "statuses": dict(over.ended),
        "late": over.ended[LATE],
        "lost": over.ended[LOST],
        **watch.figures(),
    }


async def measure(members: int, report: str, seconds: float, short_s: float, deadline_s: float) -> dict[str, Any]:
    """All figures of one run."""
    genealogy = make_genealogy(members, seed=1, roots=1)
    member_ids = [text.decode() for text in genealogy.ids.tolist()]
    async with loaded_cluster(genealogy, 2) as cluster:
        await cluster.wait_primary()
        async with orders_beside(cluster, member_ids):
            figures = await read_overload(cluster, report, member_ids[0], seconds, short_s, deadline_s)
        async with Watch(cluster, "pusher") as watch:
            pushes = await push_overload(cluster, member_ids, seconds, short_s, watch.orders_begin)
    return {
        "members": members,
        "report": report,
        "seconds": seconds,
        **figures,
        **{f"pushes_{name}": value for name, value in (pushes | watch.figures()).items()},
    }


def main() -> None:
    """Runs, prints the figures, and exits 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--report", choices=_REPORTS, default="summary", help=f"page: of {_PAGE_ROWS:,} rows")
    parser.add_argument("--seconds", type=float, default=60.0, help="of ten times the capacity")
    parser.add_argument("--short", type=float, default=10.0, help="of each other stretch, in seconds")
    parser.add_argument("--deadline", type=float, default=1.0, help="of a read, in seconds")
    arguments = parser.parse_args()
    figures = uvloop.run(
        measure(arguments.members, arguments.report, arguments.seconds, arguments.short, arguments.deadline)
    )
    print(json.dumps(figures))
    for part, memory_mb_max in _MEMORY_MB_MAX.items():
        if (
            figures[f"{part}elections"]
            or figures[f"{part}memory_grown_mb"] > memory_mb_max
            or figures[f"{part}applied_gap_s"] > _APPLIED_GAP_S_MAX
        ):
            sys.exit(1)


if __name__ == "__main__":
    main()
