"""Compiles every kernel of a tree node into the cache, so that no update and no report waits for a compiler.

    python -m services.treenode.kernels.warm_up

It takes an import of each format, updates of each kind and reports of each call through a small tree, since a kernel is
compiled for the types that it is called with. The first time about a minute on two processors, half of it on four; no
time at all when there is nothing to do. `make` targets and `fasttree up` run it before a node starts; a container image
runs it when it is built; a node that is started without does the same itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet

from fasttree.v1 import report_pb2, types_pb2
from services.shared.files.sealed.own import key_to_seal
from services.shared.processors import processors
from services.shared.rules import rules_of
from services.shared.security.caller import Caller
from services.treenode.imports.reading import ImportRefusedError, read_import
from services.treenode.imports.sample_imports import MEMBERS, short_csv, write_sample_csvs
from services.treenode.kernels.compiling import tell_compiling
from services.treenode.kernels.parallel import compile_in_processes, one_at_a_time
from services.treenode.reports import ReportServicer
from services.treenode.reports.copy.gate import ReadGate
from services.treenode.snapshots.background_send import warm_up as warm_up_sealing
from services.treenode.snapshots.background_write import warm_up as warm_up_writing
from services.treenode.snapshots.state_file import read_state, write_state_to
from services.treenode.tree import NO_DAY, FurtherColumn, ImportTable, Tree
from services.treenode.tree.kernels.kernel_cache import FOLDER, everything_is_cached
from services.treenode.tree.kernels.links import TOP
from services.treenode.tree.leg_digests import leg_digests

CONFIG = rules_of(volume_types=("PV", "CV"), periods=("2026-11", "2026-10"))


def tables(folder: Path) -> Iterator[ImportTable]:
    """The same members in each format, and a file that is refused on the way."""
    table = pyarrow.csv.read_csv(io.BytesIO(short_csv().encode()))
    pyarrow.parquet.write_table(table, folder / "short.parquet")
    for path in (*write_sample_csvs(folder), folder / "short.parquet"):
        try:
            yield read_import(path, volume_types=CONFIG.volume_types, periods=CONFIG.periods)
        except ImportRefusedError:
            continue


def sample_table() -> ImportTable:
    """The members of `long_csv`, and more columns, without reading a file."""
    count = MEMBERS - 1
    number = np.arange(1, MEMBERS)
    placed = (number > 1) & (number % 7 != 0) & ((number // 2 == 1) | (number // 2 % 7 != 0))
    return ImportTable(
        member_ids=np.array([f"m{n}" for n in number.tolist()], dtype="S8"),
        sponsor=np.where(number > 2, number // 3 - 1, -1).astype(np.int32),
        placement=np.where(placed, number // 2 - 1, -1).astype(np.int32),
        placement_leg=np.where(placed, number % 2 + 1, 0).astype(np.int32),
        kind=np.where(number % 5 == 0, 2, 1).astype(np.uint8),
        status=(number % 2).astype(np.int16),
        status_names=["A", "B"],
        rank=(number % 9).astype(np.int16),
        joined_on=np.where(number % 3 == 0, NO_DAY, 20_000 + number).astype(np.int32),
        volumes={key: number.astype(np.int64) for key in (("PV", "2026-11"), ("CV", "2026-10"))},
        further={
            "country": FurtherColumn.of_texts([("US", "CA")[n % 2] for n in number.tolist()]),
            "points": FurtherColumn("integer", number.astype(np.int64)),
            "rate": FurtherColumn("decimal", number.astype(np.int64) * 500_000),
            "renewal": FurtherColumn("date", np.full(count, 20_000, np.int32)),
        },
    )


def updates(prefix: str) -> list[types_pb2.Update]:
    """Updates of each kind: taken, held and released again, rejected."""
    root, other, new = f"{prefix}1", f"{prefix}2", f"{prefix}9001"
    changes: list[dict[str, Any]] = [
        {"volume_posted": {"member_id": root, "amount_hundredths": 100}},
        {"volume_posted": {"member_id": new, "amount_hundredths": 100, "volume_type": "CV", "period": "2026-10"}},
        {"volume_posted": {"member_id": root, "amount_hundredths": 1, "period": "2020-01"}},
        {"member_enrolled": {"member_id": f"{prefix}9002", "sponsor_id": new, "placement_id": new}},
        {"member_enrolled": {"member_id": new, "sponsor_id": root, "status": "N", "joined_on": "2026-11-22"}},
        {"member_changed": {"member_id": new, "status": "X", "rank": 3, "kind": 2, "joined_on": "2026-11-21"}},
        {"member_changed": {"member_id": other, "columns": {"country": "CA", "points": "7"}}},
        {"member_enrolled": {"member_id": f"{prefix}9003", "columns": {"country": "NZ", "points": "1"}}},
        {"member_moved": {"member_id": new, "new_parent_id": other, "tree": 1}},
        {"member_moved": {"member_id": new, "new_parent_id": other, "tree": 2, "placement_leg": 4}},
        {"member_moved": {"member_id": other, "new_parent_id": new, "tree": 1}},
        {"member_moved": {"member_id": f"{prefix}30", "new_parent_id": f"{prefix}40", "tree": 1}},
        {"member_moved": {"member_id": f"{prefix}31", "tree": 2}},
        {"member_removed": {"member_id": f"{prefix}10", "mode": 1}},
        {"member_removed": {"member_id": f"{prefix}12", "mode": 1, "volume": 2}},
        {"member_removed": {"member_id": f"{prefix}11", "mode": 2}},
        {"member_enrolled": {"member_id": f"{prefix}10", "sponsor_id": root}},
        {"member_enrolled": {"member_id": f"{prefix}11", "sponsor_id": root}},
    ]
    made = [types_pb2.Update(update_id=f"u{number}", **change) for number, change in enumerate(changes)]
    orders = [
        types_pb2.Update(
            update_id=f"o{number}",
            volume_posted=types_pb2.VolumePosted(member_id=f"{prefix}{number % 90 + 50}", amount_hundredths=number),
        )
        for number in range(300)
    ]
    return made + orders


class _View:
    """A node that stands still."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.gate = ReadGate()

    def as_of_bytes(self) -> bytes:
        return types_pb2.AsOf(position=self.tree.position).SerializeToString()

    async def wait_for_position(self, position: int) -> None:
        """It is there."""


class _Context:
    """A call without a deadline. `caller`: who makes it."""

    def __init__(self, caller: Caller | None = None) -> None:
        self.caller = caller

    @staticmethod
    def time_remaining() -> float | None:
        return None


async def ask_everything(tree: Tree, prefix: str) -> None:
    """Each report of a tree, with each way to filter and sort."""
    servicer, context = ReportServicer(_View(tree)), _Context()
    root = f"{prefix}1"
    every = report_pb2.ReportOptions(columns=["*"])
    filters = [
        report_pb2.DownlineFilter(),
        report_pb2.DownlineFilter(
            min_level=1, max_level=9, kinds=[types_pb2.MEMBER_KIND_DISTRIBUTOR],
            statuses=["A", "B"], min_rank=0, max_rank=8,
            joined_from="2020-01-01", joined_to="2027-01-01",
            ranges=[report_pb2.ColumnRange(column="pv", min="0"), report_pb2.ColumnRange(column="gv", max="999999")],
        ),
    ]  # fmt: skip
    sorts = ["member_id", "gv", "pv", "joined_on", "status", "rank", "downline_count"]
    if "country" in tree.further:
        sorts.append("country")
        texts = [
            report_pb2.ColumnRange(column="country", min="A", max="Z"),
            report_pb2.ColumnRange(column="country", any_of=["US", ""]),
        ]
        filters.append(report_pb2.DownlineFilter(ranges=texts))
    for options in (report_pb2.ReportOptions(), every, report_pb2.ReportOptions(tree=types_pb2.TREE_PLACEMENT)):
        ask: Any = servicer
        # By a leader, too, whose downline has changed since the layout.
        await ask.GetMember(report_pb2.GetMemberRequest(member_id=root, options=options), _Context(Caller((), root)))
        await ask.GetMember(report_pb2.GetMemberRequest(member_id=root, options=options), context)
        ids = [f"{prefix}{number}" for number in range(1, 60)]
        await ask.BatchGetMembers(report_pb2.BatchGetMembersRequest(member_ids=ids, options=options), context)
        await ask.ListUpline(report_pb2.ListUplineRequest(member_id=f"{prefix}150", options=options), context)
        await ask.ListFrontLine(report_pb2.ListFrontLineRequest(member_id=root, options=options), context)
        await ask.ListFrontLine(report_pb2.ListFrontLineRequest(options=options), context)
        await ask.SearchMembers(report_pb2.SearchMembersRequest(prefix=root, options=options), context)
        await ask.ListHoldingTank(report_pb2.ListHoldingTankRequest(options=options), context)
        for member_id in (root, ""):
            for chosen in filters:
                summary = report_pb2.SummarizeDownlineRequest(member_id=member_id, options=options, filter=chosen)
                await ask.SummarizeDownline(summary, context)
                # Each condition with one order, and each order with one condition: they meet in no kernel.
                for column in sorts if chosen is filters[0] else sorts[:1]:
                    listed = report_pb2.ListDownlineRequest(
                        member_id=member_id, options=options, filter=chosen,
                        sort=report_pb2.SortKey(column=column, descending=column == "gv"), page_size=5,
                    )  # fmt: skip
                    await ask.ListDownline(listed, context)
                for row_format in (report_pb2.ROW_FORMAT_MEMBERS, report_pb2.ROW_FORMAT_ARROW):
                    streamed = report_pb2.StreamDownlineRequest(
                        member_id=member_id, options=options, filter=chosen, format=row_format
                    )
                    async for _ in ask.StreamDownline(streamed, context):
                        pass
    servicer.close()


@functools.cache
def warm_up_first_answers() -> None:
    """The updates and the commonest reports: what a node is asked for in its first second. A quarter of a second, if
    nothing has to be compiled. Safe in a thread, as `warm_up_node`.
    """
    tree = Tree.empty(CONFIG)
    members = [
        types_pb2.Update(
            update_id=f"e{number}",
            member_enrolled=types_pb2.MemberEnrolled(
                member_id=f"m{number}", sponsor_id=f"m{number // 3}" * (number > 2)
            ),
        )
        for number in range(1, 100)
    ]
    tree.apply(1, members)
    tree.apply(tree.position + 1, updates("m"))
    tree = Tree.from_state(*tree.state())
    asyncio.run(ask_the_commonest(tree))


async def ask_the_commonest(tree: Tree) -> None:
    """A member, some members, a summary, a page and a stream of a downline."""
    servicer: Any = ReportServicer(_View(tree))
    context = _Context()
    await servicer.GetMember(report_pb2.GetMemberRequest(member_id="m1"), context)
    await servicer.BatchGetMembers(report_pb2.BatchGetMembersRequest(member_ids=["m1", "m2"]), context)
    await servicer.ListUpline(report_pb2.ListUplineRequest(member_id="m9"), context)
    await servicer.ListFrontLine(report_pb2.ListFrontLineRequest(member_id="m1"), context)
    await servicer.SummarizeDownline(report_pb2.SummarizeDownlineRequest(member_id="m1"), context)
    await servicer.ListDownline(report_pb2.ListDownlineRequest(member_id="m1", page_size=5), context)
    async for _ in servicer.StreamDownline(report_pb2.StreamDownlineRequest(member_id="m1"), context):
        pass
    servicer.close()


@functools.cache
def warm_up_node() -> None:
    """Everything that a running node does, once: its kernels are loaded, or compiled, when it returns. About a second.

    Safe in a thread; nothing of it stays. A second call in one process does nothing.
    """
    warm_up_first_answers()
    built = Tree.from_table(sample_table(), CONFIG, import_id=1, position=0)
    # A node gets its tree out of a file: from the process that built it, or its own snapshot.
    # In memory: there may be no folder that this process may write to.
    file = os.memfd_create("fasttree-warm-up")
    try:
        write_state_to(file, {}, *built.state())
        state = read_state(Path(f"/proc/self/fd/{file}"))
    finally:
        os.close(file)
    tree = Tree.from_state(state.meta, state.arrays)
    asyncio.run(ask_everything(tree, "m"))
    tree.apply(1, updates("m"))
    tree.apply(tree.position + 1, updates("m")[:1])
    asyncio.run(ask_everything(tree, "m"))
    tree.carried_positions(5)
    tree.offer_carried([2], updates("m")[1:2])
    tree.reconcile(built)
    leg_digests(tree, TOP)
    tree.relayout()
    warm_up_wide_volumes(tree, built)
    for each in (built, tree):
        each.apply(each.position + 1, end_of_a_month())
    warm_up_writing()
    if key_to_seal() is not None:
        warm_up_sealing()
    empty = Tree.empty(CONFIG)
    asyncio.run(ask_about_nobody(empty))
    empty.apply(1, updates("m"))


def end_of_a_month() -> list[types_pb2.Update]:
    """A period is opened, and another one closed."""
    return [
        types_pb2.Update(update_id="opened", period_opened=types_pb2.PeriodOpened(period="2026-12")),
        types_pb2.Update(update_id="closed", period_closed=types_pb2.PeriodClosed(period="2026-10")),
    ]


def warm_up_wide_volumes(tree: Tree, built: Tree) -> None:
    """The same once more after an order so large that personal volumes need eight bytes: kernels of their own."""
    large = types_pb2.VolumePosted(member_id="m50", amount_hundredths=2**40)
    tree.apply(tree.position + 1, [types_pb2.Update(update_id="large", volume_posted=large)])
    tree.apply(tree.position + 1, updates("m"))
    asyncio.run(ask_everything(tree, "m"))
    tree.reconcile(built)
    leg_digests(tree, TOP)
    Tree.from_state(*tree.relayout().state())


def warm_up_imports() -> None:
    """An import of each format, good and bad."""
    with tempfile.TemporaryDirectory(prefix="fasttree-warm-up-") as name:
        for table in tables(Path(name)):
            Tree.from_table(table, CONFIG, import_id=1, position=0)


async def ask_about_nobody(tree: Tree) -> None:
    """What can be asked before anyone has enrolled."""
    servicer: Any = ReportServicer(_View(tree))
    await servicer.SummarizeDownline(report_pb2.SummarizeDownlineRequest(), _Context())
    await servicer.ListDownline(report_pb2.ListDownlineRequest(), _Context())
    servicer.close()


def fill_cache(tell: Callable[[str], None]) -> None:
    """Compiles what is not in the cache yet, in as many processes as there are processors; of several callers at one
    time one does it, and the others wait. Does nothing where nothing can be kept. Blocks, for a minute or so.

    Args:
        tell: Gets a line now and then, from any thread.
    """
    if FOLDER is None or everything_is_cached() or not os.access(FOLDER, os.W_OK):
        return
    with one_at_a_time(FOLDER, tell):
        if everything_is_cached():
            return
        tell("compiling the tree's kernels, once for this version on this machine:")
        if processors() > 1:
            compile_in_processes(processors(), tell)
        # Loads them, and compiles what is missing yet: so `complete` is true.
        warm_up_imports()
        warm_up_node()
        with contextlib.suppress(OSError):
            (FOLDER / "complete").touch()


def main() -> None:
    """Tells what it does, on standard error."""
    compiled = 0

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def tell_kernel(kernel: str) -> None:
        nonlocal compiled
        compiled += 1
        if compiled % 10 == 1:
            tell(f"{compiled:3} {kernel.removeprefix('services.treenode.')}")

    tell_compiling(tell_kernel)
    fill_cache(tell)
    if not everything_is_cached():
        tell("compiled kernels can't be kept: each process compiles its own; NUMBA_CACHE_DIR names another folder")


if __name__ == "__main__":
    main()
