"""How fast a node answers of closed periods: the first time, when their file is opened, and then, beside the live tree.

    python -m bench.closed_periods [--members 1000000]

Progress goes to standard error; standard output ends with one JSON line.

| key | what |
|---|---|
| file_gb | the state of one period on the disk |
| kept_s | from the update that closes a period to the node's word that its state is kept, seconds; a median |
| close_ms | from that update to the node's word that it is applied: the fork is in it; a median |
| first_ms, first_max_ms | a member of a period that is not open: map, then answer; a median, and the longest |
| first_after_restart_ms | the same once the node was started again: the file is read through before |
| member_ratio, summary_ratio, top_ratio | a member; a summary, and the top 100, of all members: median time of the |
| | closed period ÷ that of the live tree |
| member_ms, summary_ms, top_ms | of the live tree; medians |
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.cluster.cluster import wait_for
from bench.engine.genealogy import make_genealogy, write_genealogy
from bench.reports.tree_node import BenchNode
from bench.sitting import measure
from fasttree.v1 import report_pb2, report_pb2_grpc, treenode_pb2, treenode_pb2_grpc, types_pb2

#: One more than a node has open at once, so that the one asked for next is never open.
_MONTHS = ("2026-10", "2027-01", "2027-02", "2027-03", "2027-04")
_FIRST_ROUNDS = 3
_ROUNDS = 15


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


async def _ms(call: Awaitable[Any]) -> float:
    begin = time.perf_counter()
    await call
    return (time.perf_counter() - begin) * 1_000


class Asking:
    """The reports of one node that are measured."""

    def __init__(self, node: BenchNode, member_id: str) -> None:
        self._stub: report_pb2_grpc.ReportServiceAsyncStub = report_pb2_grpc.ReportServiceStub(node.channel())
        self._member_id = member_id

    def member(self, options: report_pb2.ReportOptions) -> Awaitable[Any]:
        return self._stub.GetMember(report_pb2.GetMemberRequest(member_id=self._member_id, options=options))

    def summary(self, options: report_pb2.ReportOptions) -> Awaitable[Any]:
        return self._stub.SummarizeDownline(report_pb2.SummarizeDownlineRequest(options=options))

    def top(self, options: report_pb2.ReportOptions) -> Awaitable[Any]:
        sort = report_pb2.SortKey(column="gv", descending=True)
        return self._stub.ListDownline(report_pb2.ListDownlineRequest(options=options, sort=sort, page_size=100))

    async def first(self, period: str) -> float:
        """A member of a period, in milliseconds."""
        return await _ms(self.member(report_pb2.ReportOptions(as_of_period=period)))

    async def beside(self, call: Callable[[report_pb2.ReportOptions], Awaitable[Any]]) -> tuple[float, float]:
        """Milliseconds that it takes of the live tree, and of a closed period: medians, asked in turn."""
        live, closed = report_pb2.ReportOptions(period="2026-11"), report_pb2.ReportOptions(as_of_period=_MONTHS[0])
        closed.period = "2026-11"
        times: tuple[list[float], list[float]] = ([], [])
        for number in range(_ROUNDS + 2):
            for options, taken in zip((live, closed), times, strict=True):
                taken_ms = await _ms(call(options))
                if number >= 2:
                    taken.append(taken_ms)
        return statistics.median(times[0]), statistics.median(times[1])


async def run(members: int, folder: Path) -> dict[str, Any]:
    """Measures everything."""
    genealogy = make_genealogy(members)
    file = folder / "members.csv"
    write_genealogy(genealogy, file)
    member_id = genealogy.ids[members // 2].decode()
    say(f"importing {file.stat().st_size:,} bytes")
    node = BenchNode(folder / "node")
    await node.start()
    try:
        await node.load_import(file)
        await node.wait_for_snapshot()
        figures: dict[str, Any] = {"members": members, **await _close(node, member_id)}
        asking = Asking(node, member_id)
        say("first answers")
        firsts = [await asking.first(period) for _ in range(_FIRST_ROUNDS) for period in _MONTHS]
        figures |= {"first_ms": round(statistics.median(firsts), 1), "first_max_ms": round(max(firsts), 1)}
        say("further answers, beside those of the live tree")
        for name, call in (("member", asking.member), ("summary", asking.summary), ("top", asking.top)):
            live_ms, closed_ms = await asking.beside(call)
            figures |= {f"{name}_ratio": round(closed_ms / live_ms, 2), f"{name}_ms": round(live_ms, 2)}
        say("a restart")
        await node.restart(member_id)
        await node.heartbeat()
        figures["first_after_restart_ms"] = round(await Asking(node, member_id).first(_MONTHS[0]), 1)
    finally:
        await node.stop()
    return figures


async def _close(node: BenchNode, member_id: str) -> dict[str, Any]:
    """Closes one month after another, an order before each."""
    say("closing months")
    stub: treenode_pb2_grpc.TreeNodeServiceAsyncStub = treenode_pb2_grpc.TreeNodeServiceStub(
        node.channel("instant_port")
    )
    close_s, kept_s, size_bytes = [], [], 0
    for number, period in enumerate(_MONTHS):
        order = types_pb2.VolumePosted(member_id=member_id, amount_hundredths=100, period=period)
        opening = [types_pb2.Update(update_id=f"open-{period}", period_opened=types_pb2.PeriodOpened(period=period))]
        posted = types_pb2.Update(update_id=f"order-{period}", volume_posted=order)
        await node.apply([*(opening if number else []), posted])
        closing = types_pb2.Update(update_id=f"close-{period}", period_closed=types_pb2.PeriodClosed(period=period))
        begin = time.perf_counter()
        close_s.append(await node.apply([closing]))

        async def is_kept(period: str = period) -> bool:
            nonlocal size_bytes
            answer = await stub.GetNode(treenode_pb2.GetNodeRequest(), timeout=5)
            found = [kept for kept in answer.kept_periods if kept.period == period]
            size_bytes = found[0].size_bytes if found else 0
            return bool(found)

        await wait_for(is_kept, 120.0, f"{period} to be kept")
        kept_s.append(time.perf_counter() - begin)
    return {
        "file_gb": round(size_bytes / 1e9, 3),
        "kept_s": round(statistics.median(kept_s), 2),
        "close_ms": round(statistics.median(close_s) * 1_000, 1),
    }


if __name__ == "__main__":
    sys.exit(measure(__doc__ or "", run))
