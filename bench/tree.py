"""The tree, measured: ours and PostgreSQL on the same file in one run, the same answers from both.

    make bench-tree MEMBERS=1000000 [PEER=none]

Progress goes to standard error; standard output ends with one JSON line. Every figure is a median.

| key | what |
|---|---|
| members | rows of the file |
| answers_equal | whether both gave the same answers to the same random questions; null without a peer |
| import_s | CSV file on the node's disk → every group volume served by the node, seconds |
| import_ratio | PostgreSQL's COPY, keys, paths and group volumes, divided by that |
| summary_100k_ratio_cte, _ltree | downline of 100,000 by level: PostgreSQL's time divided by ours through gRPC |
| summary_all_ratio_cte | the same of all members |
| orders_per_s, enrolments_per_s | in the engine, batches of 1000 |
| batch_get_members_per_s | members, 1000 ids a call, through gRPC |
| stream_arrow_rows_per_s, stream_rows_per_s | StreamDownline of all, eight columns, read whole |
| get_member_vs_empty | GetMember's rate divided by an empty handler's |
| update_delay_added_p99_ms | how much later an update is applied while the whole tree streams |
| import_peak_gb | most memory of the node and its helpers during the import |
| steady_gb | memory of the node that serves, with orders of two volume types in two periods |
| restart_s | the node's start → first report from its own snapshot |
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.engine.genealogy import make_genealogy, write_genealogy
from bench.reports.tree_node import PERIODS, VOLUME_TYPES, BenchNode, memory_bytes
from bench.reports.tree_reports import (
    batch_members_per_s,
    get_member_vs_empty,
    get_members,
    stream_rows_per_s,
    stub_of,
    summarize,
    summary_s,
    update_delay_added_p99_ms,
)
from bench.rivals import tree_peer
from bench.rivals.postgres import Session, running_postgres
from fasttree.v1 import report_pb2, types_pb2

if TYPE_CHECKING:
    from fasttree.v1.report_pb2_grpc import ReportServiceAsyncStub as Stub

KEYS = (
    "members",
    "answers_equal",
    "import_s",
    "import_ratio",
    "summary_100k_ratio_cte",
    "summary_100k_ratio_ltree",
    "summary_all_ratio_cte",
    "orders_per_s",
    "enrolments_per_s",
    "batch_get_members_per_s",
    "stream_arrow_rows_per_s",
    "stream_rows_per_s",
    "get_member_vs_empty",
    "update_delay_added_p99_ms",
    "import_peak_gb",
    "steady_gb",
    "restart_s",
)
_SUMMARY_MEMBERS = 100_000
_QUESTIONS = 200
_DOWNLINES_ASKED = 12
_ORDERS_A_MESSAGE = 10_000
_RESTARTS = 3
#: Fresh nodes that take the file, the median of whose times counts.
_IMPORTS = 3


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


async def run(members: int, *, with_peer: bool, folder: Path) -> dict[str, Any]:
    """Measures everything; the figures by KEYS."""
    figures: dict[str, Any] = dict.fromkeys(KEYS)
    figures["members"] = members
    random = np.random.default_rng(11)
    file = folder / "members.csv"
    say(f"making a genealogy of {members:,} members")
    genealogy = make_genealogy(members)
    write_genealogy(genealogy, file)
    ids = [member_id.decode() for member_id in genealogy.ids[random.integers(0, members, min(members, 50_000))]]
    start = _member_above(genealogy.sponsor, min(_SUMMARY_MEMBERS, members // 3))
    start_id = genealogy.ids[start].decode()
    del genealogy
    figures |= await _engine(file)
    say("importing into a node")
    node = await _imported(folder, file, figures)
    try:
        stub = await _settled(node, ids, figures)
        await _reports(node, stub, ids, random, start_id, figures)
        if with_peer:
            # The updates of the delay probe changed volumes: a fresh node answers for the file.
            await node.stop()
            node = BenchNode(folder / "compared")
            await node.start()
            await node.load_import(file)
            with running_postgres() as session:
                await _compare(session, stub_of(node.channel()), file, ids, start_id, figures)
    finally:
        await node.stop()
    return figures


def _member_above(sponsor: np.ndarray[Any, np.dtype[np.int32]], wanted: int) -> int:
    """The row of the member whose downline, itself included, is nearest to `wanted`."""
    depth, above = np.zeros(len(sponsor), np.int32), sponsor.copy()
    while (alive := np.flatnonzero(above >= 0)).size:
        depth[alive] += 1
        above[alive] = sponsor[above[alive]]
    sizes = np.ones(len(sponsor), np.int64)
    for level in range(int(depth.max()), 0, -1):
        rows = np.flatnonzero(depth == level)
        np.add.at(sizes, sponsor[rows], sizes[rows])
    return int(np.argmin(np.abs(sizes - wanted)))


async def _engine(file: Path) -> dict[str, Any]:
    say("the engine alone")
    command = [sys.executable, "-m", "bench.engine.tree_engine", str(file)]
    done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, check=True)
    told = json.loads(done.stdout)
    say("  " + ", ".join(f"{name} {value:,.2f}" for name, value in told.items()))
    return {name: round(told[name]) for name in ("orders_per_s", "enrolments_per_s")}


async def _imported(folder: Path, file: Path, figures: dict[str, Any]) -> BenchNode:
    """The last of some fresh nodes that took the file one after another; the median of their times."""
    served_s, peaks_bytes = [], []
    for number in range(_IMPORTS):
        node = BenchNode(folder / f"node{number}")
        try:
            await node.start()
            times = await node.load_import(file)
        except BaseException:
            await node.stop()
            raise
        say(f"  {times.told()}")
        served_s.append(times.served_s)
        peaks_bytes.append(times.peak_bytes)
        if number < _IMPORTS - 1:
            await node.stop()
            shutil.rmtree(folder / f"node{number}")
    figures["import_s"] = round(statistics.median(served_s), 3)
    figures["import_peak_gb"] = round(max(peaks_bytes) / 1e9, 3)
    return node


async def _settled(node: BenchNode, ids: Sequence[str], figures: dict[str, Any]) -> Stub:
    """The node once it has all that a node has in use; how much memory that is."""
    await node.wait_for_snapshot()
    stub = stub_of(node.channel())
    await summarize(stub, "")
    # Volumes that nobody has take no memory: now everybody above some has them, of each type in each period.
    for volume_type, period in itertools.product(VOLUME_TYPES, PERIODS):
        for begin in range(0, len(ids), _ORDERS_A_MESSAGE):
            await node.apply(
                [
                    types_pb2.Update(
                        update_id=f"{volume_type}-{period}-{member_id}",
                        volume_posted=types_pb2.VolumePosted(
                            member_id=member_id, amount_hundredths=100, volume_type=volume_type, period=period
                        ),
                    )
                    for member_id in ids[begin : begin + _ORDERS_A_MESSAGE]
                ]
            )
    figures["steady_gb"] = round(memory_bytes(node.pid) / 1e9, 3)
    return stub


async def _reports(
    node: BenchNode, stub: Stub, ids: list[str], random: np.random.Generator, start_id: str, figures: dict[str, Any]
) -> None:
    say("reports")
    say(f"  summary of {_SUMMARY_MEMBERS:,}: {await summary_s(stub, start_id, 40) * 1e3:.2f} ms")
    say(f"  summary of all: {await summary_s(stub, '', 10) * 1e3:.2f} ms")
    figures["batch_get_members_per_s"] = round(await batch_members_per_s(stub, ids, random))
    figures["stream_arrow_rows_per_s"] = round(await stream_rows_per_s(stub, report_pb2.ROW_FORMAT_ARROW, 5))
    figures["stream_rows_per_s"] = round(await stream_rows_per_s(stub, report_pb2.ROW_FORMAT_MEMBERS, 3))
    figures["get_member_vs_empty"] = round(await get_member_vs_empty(node, ids, random), 3)
    say("updates while the whole tree streams")
    figures["update_delay_added_p99_ms"] = round(await update_delay_added_p99_ms(node, ids, random), 2)
    say("restart from the node's snapshot")
    figures["restart_s"] = round(statistics.median([await node.restart(ids[0]) for _ in range(_RESTARTS)]), 3)


async def _compare(
    session: Session, stub: Stub, file: Path, ids: list[str], start_id: str, figures: dict[str, Any]
) -> None:
    """PostgreSQL's times and answers beside ours."""
    say("PostgreSQL: loading the same file")
    peer_import_s = await asyncio.to_thread(tree_peer.load, session, file)
    say(f"  in all {peer_import_s:.2f} s; path index {tree_peer.add_path_index(session):.2f} s beside")
    figures["import_ratio"] = round(peer_import_s / figures["import_s"], 1)
    say("the same questions to both")
    equal = await get_members(stub, ids[:_QUESTIONS]) == tree_peer.members(session, ids[:_QUESTIONS])
    for member_id in ids[:_DOWNLINES_ASKED]:
        ours = (await summarize(stub, member_id))[0]
        equal = equal and ours == tree_peer.summarize_by_ltree(session, member_id)[0]
    for member_id, key, rounds in ((start_id, "100k", 5), ("", "all", 3)):
        ours_s = await summary_s(stub, member_id, 20)
        ours = (await summarize(stub, member_id))[0]
        asked = [tree_peer.summarize_by_cte(session, member_id) for _ in range(rounds)]
        equal = equal and all(answer == ours for answer, _ in asked)
        cte_s = statistics.median(taken_s for _, taken_s in asked)
        figures[f"summary_{key}_ratio_cte"] = round(cte_s / ours_s, 1)
        say(f"  {sum(count for count, _ in ours.values()):,} members: {ours_s * 1e3:.2f} ms, CTE {cte_s * 1e3:.1f} ms")
        if member_id:
            asked = [tree_peer.summarize_by_ltree(session, member_id) for _ in range(rounds)]
            equal = equal and all(answer == ours for answer, _ in asked)
            ltree_s = statistics.median(taken_s for _, taken_s in asked)
            figures["summary_100k_ratio_ltree"] = round(ltree_s / ours_s, 1)
            say(f"  ltree {ltree_s * 1e3:.1f} ms")
    figures["answers_equal"] = equal


def main() -> int:
    """Measures, prints the JSON line; 1 where the answers differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--peer", choices=("postgres", "none"), default="postgres")
    parser.add_argument("--folder", type=Path, help="kept; a temporary one where left out")
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-tree-")))
        folder.mkdir(parents=True, exist_ok=True)
        figures = asyncio.run(run(asked.members, with_peer=asked.peer != "none", folder=folder))
    sys.stdout.write(json.dumps(figures) + "\n")
    return 1 if figures["answers_equal"] is False else 0


if __name__ == "__main__":
    sys.exit(main())
