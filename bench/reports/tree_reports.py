"""Reports of a node through gRPC: their answers, and how fast they come."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import grpc.aio
import numpy as np
import pyarrow as pa

from bench.cluster.cluster import free_port, wait_for
from bench.reports.tree_node import BenchNode
from bench.rivals.tree_peer import Levels, PeerMember
from fasttree.v1 import report_pb2, report_pb2_grpc, types_pb2
from services.shared.serving.channels import open_channel

if TYPE_CHECKING:
    from fasttree.v1.report_pb2_grpc import ReportServiceAsyncStub as Stub

_ROUNDS = 7
_RATIO_ROUNDS = 15
_IDS_A_CALL = 1_000
_CALLERS = 32
_CALLS_A_ROUND = 1_500
_PROBES = 400
_PROBE_INTERVAL_S = 0.005
#: Eight, as a back office lists them.
_COLUMNS = ("member_id", "sponsor_id", "level", "status", "rank", "pv", "gv", "downline_count")


def stub_of(channel: grpc.aio.Channel) -> Stub:
    """The report service behind a channel."""
    return report_pb2_grpc.ReportServiceStub(channel)


async def summarize(stub: Stub, member_id: str) -> tuple[Levels, float]:
    """A downline by level, and the time of the call."""
    request = report_pb2.SummarizeDownlineRequest(member_id=member_id, dimensions=[report_pb2.SUMMARY_DIMENSION_LEVEL])
    begin = time.perf_counter()
    answer = await stub.SummarizeDownline(request)
    taken_s = time.perf_counter() - begin
    return {int(group.key): (group.members, group.pv_hundredths) for group in answer.summaries[0].groups}, taken_s


async def summary_s(stub: Stub, member_id: str, times: int) -> float:
    """The median time of a summary by level, seconds."""
    return statistics.median([(await summarize(stub, member_id))[1] for _ in range(times)])


async def get_members(stub: Stub, member_ids: Sequence[str]) -> dict[str, PeerMember]:
    """What a node says of members, as the peer says it."""
    answer = await stub.BatchGetMembers(report_pb2.BatchGetMembersRequest(member_ids=member_ids))
    found = {}
    for member in answer.members:
        upline = await stub.ListUpline(report_pb2.ListUplineRequest(member_id=member.member_id))
        found[member.member_id] = PeerMember(
            level=member.level,
            gv=member.gv_hundredths,
            downline_count=member.downline_count,
            upline=[above.member_id for above in upline.members],
        )
    return found


async def batch_members_per_s(stub: Stub, ids: Sequence[str], random: np.random.Generator) -> float:
    """BatchGetMembers, 1000 ids a call, one call after another: median."""
    rates = []
    for _ in range(_ROUNDS * 5):
        picked = [ids[row] for row in random.integers(0, len(ids), _IDS_A_CALL)]
        request = report_pb2.BatchGetMembersRequest(member_ids=picked)
        begin = time.perf_counter()
        answer = await stub.BatchGetMembers(request)
        rates.append(len(answer.members) / (time.perf_counter() - begin))
    return statistics.median(rates)


async def stream_rows_per_s(stub: Stub, row_format: report_pb2.RowFormat.ValueType, times: int) -> float:
    """StreamDownline of all members, eight columns, every row read: median of rows a second."""
    rates = []
    for _ in range(times):
        begin = time.perf_counter()
        rows = await _stream(stub, row_format)
        rates.append(rows / (time.perf_counter() - begin))
    return statistics.median(rates)


async def _stream(stub: Stub, row_format: report_pb2.RowFormat.ValueType) -> int:
    options = report_pb2.ReportOptions(columns=_COLUMNS)
    request = report_pb2.StreamDownlineRequest(options=options, format=row_format)
    rows, pieces = 0, []
    async for response in stub.StreamDownline(request):
        rows += len(response.members)
        if response.arrow:
            pieces.append(response.arrow)
    if row_format == report_pb2.ROW_FORMAT_ARROW:
        with pa.ipc.open_stream(pa.py_buffer(b"".join(pieces))) as reader:
            rows = sum(batch.num_rows for batch in reader)
    return rows


async def get_member_vs_empty(node: BenchNode, ids: Sequence[str], random: np.random.Generator) -> float:
    """GetMember's rate divided by an empty handler's, turn about: median of the rounds' ratios."""
    async with _empty_server() as empty:
        node_stub, empty_stub = stub_of(node.channel()), stub_of(empty)
        await _calls_per_s(node_stub, ids, random)
        await _calls_per_s(empty_stub, ids, random)
        ratios = []
        # Each round in both orders: a machine that gets slower or faster meanwhile favours neither.
        for _ in range(_RATIO_ROUNDS):
            nodes = [await _calls_per_s(node_stub, ids, random)]
            empties = [await _calls_per_s(empty_stub, ids, random) for _ in range(2)]
            nodes.append(await _calls_per_s(node_stub, ids, random))
            ratios.append(statistics.harmonic_mean(nodes) / statistics.harmonic_mean(empties))
    return statistics.median(ratios)


async def _calls_per_s(stub: Stub, ids: Sequence[str], random: np.random.Generator) -> float:
    picked = [ids[row] for row in random.integers(0, len(ids), _CALLS_A_ROUND)]
    following = iter(picked)

    async def caller() -> None:
        for member_id in following:
            await stub.GetMember(report_pb2.GetMemberRequest(member_id=member_id))

    begin = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(_CALLERS)))
    return _CALLS_A_ROUND / (time.perf_counter() - begin)


@contextlib.asynccontextmanager
async def _empty_server() -> AsyncIterator[grpc.aio.Channel]:
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.reports.empty_server", address)
    try:
        async with open_channel(address) as channel:

            async def answers() -> bool:
                await stub_of(channel).GetMember(report_pb2.GetMemberRequest(member_id="x"), timeout=5)
                return True

            await wait_for(answers, 60, "the empty server")
            yield channel
    finally:
        process.terminate()
        await process.wait()


async def update_delay_added_p99_ms(node: BenchNode, ids: Sequence[str], random: np.random.Generator) -> float:
    """How much later updates are applied while the whole tree streams, p99, in milliseconds. The stream is read by
    another process, so that its reader holds up nobody here.
    """
    quiet_s = await _delays_s(node, ids, random, _PROBES)
    command = [sys.executable, "-m", "bench.reports.tree_reports", node.report_address]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    try:
        busy_s = await _delays_s(node, ids, random, _PROBES)
    finally:
        process.terminate()
        await process.wait()
    return float(np.percentile(busy_s, 99) - np.percentile(quiet_s, 99)) * 1e3


async def _delays_s(node: BenchNode, ids: Sequence[str], random: np.random.Generator, count: int) -> list[float]:
    delays = []
    for number in range(count):
        order = types_pb2.VolumePosted(member_id=ids[int(random.integers(0, len(ids)))], amount_hundredths=100)
        delays.append(await node.apply([types_pb2.Update(update_id=f"d{node.position}-{number}", volume_posted=order)]))
        await asyncio.sleep(_PROBE_INTERVAL_S)
    return delays


async def _stream_for_ever(address: str) -> None:
    """Streams the whole tree again and again, and says when the first rows came."""
    async with open_channel(address) as channel:
        stub, told = stub_of(channel), False
        while True:
            options = report_pb2.ReportOptions(columns=_COLUMNS)
            async for _ in stub.StreamDownline(report_pb2.StreamDownlineRequest(options=options)):
                if not told:
                    sys.stdout.write("streaming\n")
                    sys.stdout.flush()
                    told = True


if __name__ == "__main__":
    asyncio.run(_stream_for_ever(sys.argv[1]))
