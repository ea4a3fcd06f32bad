"""Reports of a small company that never changes, with failures that a test can ask for."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pyarrow as pa

from fasttree.v1 import report_pb2, report_pb2_grpc, types_pb2
from services.shared.serving.errors import FastTreeError, InvalidArgumentError, NotFoundError
from tests.fakes.server import Fake


class FakeReports(report_pb2_grpc.ReportServiceServicer, Fake):
    """A chain of members m0 (root), m1, m2, …; `failures` are raised first, one a call."""

    adders = (report_pb2_grpc.add_ReportServiceServicer_to_server,)

    def __init__(self, members: int = 5) -> None:
        super().__init__()
        self.members = [
            types_pb2.Member(
                member_id=f"m{index}",
                sponsor_id=f"m{index - 1}" if index else "",
                level=index,
                status="A",
                rank=3,
                kind=types_pb2.MEMBER_KIND_DISTRIBUTOR,
                joined_on="2026-01-02",
                pv_hundredths=100 * index,
                gv_hundredths=150,
                downline_count=members - 1 - index,
                columns={"country": "CH"},
            )
            for index in range(members)
        ]
        self.columns = [report_pb2.ColumnDescription(name="country", type=report_pb2.COLUMN_TYPE_TEXT)]
        self.as_of = types_pb2.AsOf(import_id=1, position=7, epoch=2, node="n1")
        #: (code, details, whether a server wrote it)
        self.failures: list[grpc.StatusCode] = []
        self.calls = 0
        self.last_request: Any = None
        #: Raised for every call; None: nothing is.
        self.refusal: FastTreeError | None = None
        #: Calls wait until it is set, as it is at first.
        self.open = asyncio.Event()
        self.open.set()
        #: Positions of orders for member 99, who never arrives.
        self.held_positions = [3]
        #: Why the one update that is asked for was rejected; empty: none was.
        self.rejected_reason = ""
        self.rejected_position = 0
        #: Breaks StreamDownline after the first message.
        self.break_stream = False
        #: Sends no second message; how many streams were ended by their clients.
        self.hold_stream = False
        self.streams_ended = 0

    async def _fail(self, request: Any, context: Any) -> None:
        self.calls += 1
        self.last_request = request
        await self.open.wait()
        if self.failures:
            await context.abort(self.failures.pop(0), "Received RST_STREAM")
        if self.refusal is not None:
            raise self.refusal

    def _find(self, member_id: str) -> types_pb2.Member:
        for member in self.members:
            if member.member_id == member_id:
                return member
        raise NotFoundError(f"no member {member_id}; search by its beginning", field="member_id", value=member_id)

    async def GetMember(self, request: Any, context: Any) -> report_pb2.GetMemberResponse:
        await self._fail(request, context)
        return report_pb2.GetMemberResponse(as_of=self.as_of, member=self._find(request.member_id))

    async def BatchGetMembers(self, request: Any, context: Any) -> report_pb2.BatchGetMembersResponse:
        await self._fail(request, context)
        known = {member.member_id: member for member in self.members}
        return report_pb2.BatchGetMembersResponse(
            as_of=self.as_of,
            members=[known[one] for one in request.member_ids if one in known],
            unknown_member_ids=[one for one in request.member_ids if one not in known],
        )

    async def ListUpline(self, request: Any, context: Any) -> report_pb2.ListUplineResponse:
        await self._fail(request, context)
        level = self._find(request.member_id).level
        begin = int(request.page_token or 0)
        end = min(level, begin + (request.page_size or 1_000))
        above = [types_pb2.Member() for _ in range(level)]
        for index, member in enumerate(reversed(self.members[:level])):
            above[index].CopyFrom(member)
            above[index].level = index + 1
        return report_pb2.ListUplineResponse(
            as_of=self.as_of,
            members=above[begin:end],
            next_page_token=str(end) if end < level else "",
            total_count=level,
        )

    async def ListFrontLine(self, request: Any, context: Any) -> report_pb2.ListFrontLineResponse:
        await self._fail(request, context)
        children = [member for member in self.members if member.sponsor_id == request.member_id]
        return report_pb2.ListFrontLineResponse(as_of=self.as_of, members=children, total_count=len(children))

    async def ListDownline(self, request: Any, context: Any) -> report_pb2.ListDownlineResponse:
        await self._fail(request, context)
        rows = sorted(self.members, key=lambda one: one.pv_hundredths, reverse=request.sort.descending)
        return report_pb2.ListDownlineResponse(
            as_of=self.as_of, members=rows[: request.page_size], total_count=len(rows)
        )

    async def SummarizeDownline(self, request: Any, context: Any) -> report_pb2.SummarizeDownlineResponse:
        await self._fail(request, context)
        total = report_pb2.SummaryGroup(key="", members=len(self.members), pv_hundredths=1000)
        levels = [
            report_pb2.SummaryGroup(key=str(one.level), members=1, pv_hundredths=one.pv_hundredths)
            for one in self.members
        ]
        summary = report_pb2.Summary(dimension=report_pb2.SUMMARY_DIMENSION_LEVEL, groups=levels)
        everyone = {"members": len(self.members), "pv_hundredths": 1000}
        ranks, statuses = (
            report_pb2.Summary(dimension=dimension, groups=[report_pb2.SummaryGroup(key=key, **everyone)])
            for dimension, key in (
                (report_pb2.SUMMARY_DIMENSION_RANK, "3"),
                (report_pb2.SUMMARY_DIMENSION_STATUS, "7"),
            )
        )
        wanted = set(request.dimensions)
        asked = [each for each in (summary, ranks, statuses) if not wanted or each.dimension in wanted]
        return report_pb2.SummarizeDownlineResponse(as_of=self.as_of, total=total, summaries=asked)

    async def StreamDownline(self, request: Any, context: Any) -> Any:
        await self._fail(request, context)
        if "nonsense" in request.options.columns:
            raise InvalidArgumentError(
                "no column 'nonsense'; see `fasttree describe`", field="columns", value="nonsense"
            )
        if request.format == report_pb2.ROW_FORMAT_ARROW:
            for part in _arrow_parts(self.members, list(request.options.columns)):
                yield report_pb2.StreamDownlineResponse(as_of=self.as_of, arrow=part)
            return
        for index in range(0, len(self.members), 2):
            as_of = self.as_of if index == 0 else None
            yield report_pb2.StreamDownlineResponse(as_of=as_of, members=self.members[index : index + 2])
            if self.hold_stream:
                try:
                    await asyncio.Event().wait()
                finally:
                    self.streams_ended += 1
            if self.break_stream:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the node ends")

    async def SearchMembers(self, request: Any, context: Any) -> report_pb2.SearchMembersResponse:
        await self._fail(request, context)
        found = [member for member in self.members if member.member_id.startswith(request.prefix)]
        return report_pb2.SearchMembersResponse(as_of=self.as_of, members=found)

    async def ListHoldingTank(self, request: Any, context: Any) -> report_pb2.ListHoldingTankResponse:
        await self._fail(request, context)
        begin = int(request.page_token or 0)
        end = min(len(self.members), begin + (request.page_size or 1_000))
        return report_pb2.ListHoldingTankResponse(
            as_of=self.as_of,
            members=self.members[begin:end],
            next_page_token=str(end) if end < len(self.members) else "",
            total_count=len(self.members),
        )

    async def ListHeldUpdates(self, request: Any, context: Any) -> report_pb2.ListHeldUpdatesResponse:
        await self._fail(request, context)
        held = [
            types_pb2.UpdateOutcome(
                position=position,
                update_id=f"o-{position}",
                outcome=types_pb2.OUTCOME_HELD,
                reason="no member 99 yet",
                waits_for_member_id="99",
            )
            for position in self.held_positions
            if request.member_id in ("", "99") and f"o-{position}".startswith(request.update_id_prefix)
        ]
        begin = int(request.page_token or 0)
        end = min(len(held), begin + (request.limit or 1_000))
        return report_pb2.ListHeldUpdatesResponse(
            as_of=self.as_of,
            updates=held[begin:end],
            total_count=len(held),
            next_page_token=str(end) if end < len(held) else "",
        )

    async def ListRejectedUpdates(self, request: Any, context: Any) -> report_pb2.ListRejectedUpdatesResponse:
        await self._fail(request, context)
        found = [
            types_pb2.UpdateOutcome(
                position=self.rejected_position, update_id=request.update_id_prefix, reason=self.rejected_reason
            )
        ]
        if not self.rejected_reason:
            return report_pb2.ListRejectedUpdatesResponse(as_of=self.as_of)
        return report_pb2.ListRejectedUpdatesResponse(as_of=self.as_of, updates=found, total_count=1)

    async def DescribeTree(self, request: Any, context: Any) -> report_pb2.DescribeTreeResponse:
        await self._fail(request, context)
        return report_pb2.DescribeTreeResponse(
            as_of=self.as_of,
            members=len(self.members),
            roots=1,
            volume_types=["PV"],
            periods=["2026-11"],
            columns=self.columns,
        )


def _arrow_parts(members: list[types_pb2.Member], columns: list[str]) -> list[bytes]:
    names = {"pv": "pv_hundredths", "gv": "gv_hundredths"}
    arrays = {}
    for column in columns:
        values = [getattr(one, names.get(column, column), one.columns.get(column, "")) for one in members]
        arrays[column] = pa.array(values)
    table = pa.table(arrays)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    content = sink.getvalue().to_pybytes()
    return [content[: len(content) // 2], content[len(content) // 2 :]]
