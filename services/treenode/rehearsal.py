"""Every kind of update and report once, on a small tree that nobody else sees.

Kernels are compiled, or read from the disk, on their first call, and nothing else of the process runs meanwhile. A
node does that before it is ready, so that no report, no update and no heartbeat ever waits for it.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from fasttree.v1 import report_pb2, types_pb2
from services.treenode.background_write import warm_up
from services.treenode.reports import ReadGate, ReportServicer
from services.treenode.tree import Tree, TreeConfig
from services.treenode.tree.leg_digests import leg_digests
from services.treenode.tree.links import TOP

#: More than the reports' short ways for few rows take.
MEMBERS = 400

logger = logging.getLogger(__name__)


class _Stage:
    """What reports see of the rehearsal's tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.gate = ReadGate()

    def as_of(self) -> types_pb2.AsOf:
        return types_pb2.AsOf(position=self.tree.position)

    async def wait_for_position(self, position: int) -> None:
        """The tree is there already."""


class _Call:
    """A call that nobody made."""

    def time_remaining(self) -> float:
        return 60.0


_rehearsed = False


async def rehearse(config: TreeConfig) -> None:
    """Runs all of it, once a process; takes a minute where nothing was compiled before, else a second."""
    global _rehearsed
    if _rehearsed:
        return
    _rehearsed = True
    began_s = time.perf_counter()
    tree = _updated(config)
    meta, arrays = tree.state()
    again = Tree.from_state(meta, arrays)
    tree.reconcile(again)
    leg_digests(tree, TOP)
    again.relaid()
    warm_up()
    stage = _Stage(tree)
    reports = ReportServicer(stage)
    try:
        await _report(reports)
    finally:
        reports.close()
        stage.gate.close()
    took_s = time.perf_counter() - began_s
    logger.log(logging.INFO if took_s > 5 else logging.DEBUG, "rehearsed every update and report in %.1f s", took_s)


def _updated(config: TreeConfig) -> Tree:
    """A tree that went through every kind of update, in runs and alone."""
    tree = Tree.empty(config)
    enrolments = [
        types_pb2.MemberEnrolled(
            member_id=f"M{number}",
            sponsor_id=f"M{(number - 1) // 3}" if number else "",
            placement_id=f"M{(number - 1) // 2}" if number and number % 5 else "",
            status="A" if number % 2 else "B",
            joined_on="2026-01-31",
        )
        for number in range(MEMBERS)
    ]
    batches: list[list[types_pb2.Update]] = [
        [types_pb2.Update(update_id="held", volume_posted=types_pb2.VolumePosted(member_id="M9", amount_hundredths=1))],
        [types_pb2.Update(update_id=f"E{index}", member_enrolled=change) for index, change in enumerate(enrolments)],
        [
            types_pb2.Update(
                update_id=f"O{number}",
                volume_posted=types_pb2.VolumePosted(member_id=f"M{number}", amount_hundredths=100),
            )
            for number in range(MEMBERS)
        ],
    ]
    changed = types_pb2.MemberChanged(member_id="M7", status="C", rank=3)
    alone = [
        types_pb2.Update(update_id="C", member_changed=changed),
        *(
            types_pb2.Update(
                update_id=f"V{int(which)}",
                member_moved=types_pb2.MemberMoved(member_id="M30", new_parent_id="M2", tree=which),
            )
            for which in (types_pb2.TREE_SPONSOR, types_pb2.TREE_PLACEMENT)
        ),
        *(
            types_pb2.Update(
                update_id=f"R{int(mode)}", member_removed=types_pb2.MemberRemoved(member_id=member_id, mode=mode)
            )
            for member_id, mode in (
                ("M20", types_pb2.REMOVAL_MODE_COMPRESS),
                ("M21", types_pb2.REMOVAL_MODE_LEAVE_EMPTY),
            )
        ),
        types_pb2.Update(update_id="rejected", member_enrolled=enrolments[3]),
    ]
    for batch in [*batches, *([update] for update in alone), batches[2][:1]]:
        tree.apply(tree.position + 1, batch)
    return tree


async def _report(reports: ReportServicer) -> None:
    call: Any = _Call()
    for which in (types_pb2.TREE_SPONSOR, types_pb2.TREE_PLACEMENT):
        plain = report_pb2.ReportOptions(tree=which)
        await reports.GetMember(report_pb2.GetMemberRequest(member_id="M5", options=plain), call)
        batch = report_pb2.BatchGetMembersRequest(member_ids=["M1", "M2", "X"], options=plain)
        await reports.BatchGetMembers(batch, call)
        await reports.ListUpline(report_pb2.ListUplineRequest(member_id="M99", options=plain), call)
        await reports.ListFrontLine(report_pb2.ListFrontLineRequest(member_id="M0", options=plain), call)
        summary = report_pb2.SummarizeDownlineRequest(
            member_id="M0", options=plain, dimensions=report_pb2.SummaryDimension.values()[1:]
        )
        await reports.SummarizeDownline(summary, call)
        for row_format in report_pb2.RowFormat.values()[1:]:
            stream = report_pb2.StreamDownlineRequest(member_id="M0", options=plain, format=row_format)
            async for _ in reports.StreamDownline(stream, call):
                pass
        sort = report_pb2.SortKey(column="gv", descending=True)
        listed = report_pb2.ListDownlineRequest(member_id="M0", options=plain, sort=sort, page_size=10)
        await reports.ListDownline(listed, call)
    await reports.SearchMembers(report_pb2.SearchMembersRequest(prefix="M1"), call)
    await reports.ListHoldingTank(report_pb2.ListHoldingTankRequest(member_id="M0"), call)
    await reports.ListHeldUpdates(report_pb2.ListHeldUpdatesRequest(), call)
    await reports.ListRejectedUpdates(report_pb2.ListRejectedUpdatesRequest(), call)
    await reports.DescribeTree(report_pb2.DescribeTreeRequest(), call)
