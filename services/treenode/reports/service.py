"""fasttree.v1.ReportService: the calls, each a thin path from a request to an answer.

A call that reads a few members runs on the event loop, between two slices of updates. One that reads many copies what
it needs in a thread under the gate, and goes on from its copy. Either way its answer is of one position, which it
states: `as_of` is noted at the same moment, with no update in between.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from typing import TYPE_CHECKING

from fasttree.v1 import report_pb2, types_pb2
from services.shared.serving.errors import ResourceExhaustedError
from services.treenode.reports import lists, pages, streams, summaries
from services.treenode.reports.columns import MEMBER_ID, Column, Kind
from services.treenode.reports.copy.buffers import Buffers
from services.treenode.reports.copy.cuts import Cut
from services.treenode.reports.copy.extents import (
    checked_id,
    downline,
    downline_size,
    front_line,
    front_line_size,
    of_rows,
    upline_size,
)
from services.treenode.reports.copy.freeze import FrozenLinks, copy_bytes, freeze, freeze_links, freeze_values
from services.treenode.reports.copy.node_reader import Context, NodeReader, Ready
from services.treenode.reports.copy.rows import FrozenRows
from services.treenode.reports.encode.members import member_bytes
from services.treenode.reports.encode.single import MemberEncoder
from services.treenode.reports.limits import ReportLimits
from services.treenode.reports.plan.choice import Choice
from services.treenode.reports.plan.filters import EVERYONE, RowFilter, compile_filter
from services.treenode.reports.plan.page_tokens import PageKey, page_token, read_page_token, request_digest
from services.treenode.reports.search import rows_by_prefix
from services.treenode.reports.stalls import StallWatch
from services.treenode.reports.view import NodeView

if TYPE_CHECKING:
    from services.treenode.tree import NotApplied, Tree

#: Requests that are answered page by page.
PagedRequest = report_pb2.ListFrontLineRequest | report_pb2.ListDownlineRequest | report_pb2.ListHoldingTankRequest
PagedResponse = report_pb2.ListFrontLineResponse | report_pb2.ListDownlineResponse | report_pb2.ListHoldingTankResponse

SEARCH_LIMIT, SEARCH_LIMIT_MAX = 20, 1_000
COLUMN_TYPES: dict[Kind, report_pb2.ColumnType.ValueType] = {
    Kind.TEXT: report_pb2.COLUMN_TYPE_TEXT,
    Kind.INTEGER: report_pb2.COLUMN_TYPE_INTEGER,
    Kind.DECIMAL: report_pb2.COLUMN_TYPE_DECIMAL,
    Kind.DATE: report_pb2.COLUMN_TYPE_DATE,
}


class ReportServicer:
    """Answers reports from the node's tree. Used on the node's event loop; register it by `add_report_service`."""

    def __init__(self, view: NodeView, limits: ReportLimits | None = None) -> None:
        self._limits = limits or ReportLimits()
        self._reader = NodeReader(view, self._limits)
        self._member = MemberEncoder()
        self._streams = 0

    @property
    def stream_count(self) -> int:
        """Streams under way."""
        return self._streams

    def close(self) -> None:
        """Ends the service's threads, once its streams have ended."""
        self._reader.close()

    # --- calls

    async def GetMember(self, request: report_pb2.GetMemberRequest, context: Context) -> bytes:
        """One member."""
        reader = self._reader
        if not request.HasField("options"):
            tree = reader.tree_now() or await reader.tree_at(0, context)
            return reader.as_of() + self._member.encode(tree, reader.default_choice(tree), request.member_id)
        options = request.options
        tree = await reader.tree_at(options.min_position, context)
        return reader.as_of() + self._member.encode(tree, reader.choice(tree, options), request.member_id)

    async def BatchGetMembers(self, request: report_pb2.BatchGetMembersRequest, context: Context) -> bytes:
        """Many members, in the order asked."""
        tree = await self._reader.tree_at(request.options.min_position, context)
        choice = self._reader.choice(tree, request.options)
        rows, unknown = lists.batch(tree, choice, list(request.member_ids))
        as_of = self._reader.as_of()
        rest = report_pb2.BatchGetMembersResponse(unknown_member_ids=unknown)
        return as_of + await self._members(rows, choice) + rest.SerializeToString()

    async def ListUpline(self, request: report_pb2.ListUplineRequest, context: Context) -> bytes:
        """Everyone above a member."""

        def begin(tree: Tree, ready: Ready) -> Callable[[], Cut]:
            choice = self._reader.choice(tree, request.options)
            member_id, to_member_id = request.member_id, request.to_member_id
            return lambda: Cut(lists.upline(tree, choice, member_id, to_member_id), choice, EVERYONE, pages.Sort())

        def size(tree: Tree) -> int:
            return upline_size(tree, self._reader.choice(tree, request.options), request.member_id)

        limit = self._limits.loop_copy_rows_max
        as_of, cut = await self._reader.scan(request.options.min_position, context, size, limit, begin)
        return as_of + await self._members(cut.rows, cut.choice)

    async def ListFrontLine(self, request: report_pb2.ListFrontLineRequest, context: Context) -> bytes:
        """A member's direct children."""
        after, page_size = _page_key(request), pages.page_size(request.page_size)

        def begin(tree: Tree, ready: Ready) -> Callable[[], Cut]:
            choice = self._reader.choice(tree, request.options)
            sort = pages.sort_of(request.sort, self._reader.catalogue(tree))

            def work() -> Cut:
                children = front_line(tree, choice, request.member_id)
                return Cut(freeze(tree, choice, children, (MEMBER_ID, sort.column)), choice, EVERYONE, sort)

            return work

        def size(tree: Tree) -> int:
            return front_line_size(tree, self._reader.choice(tree, request.options), request.member_id)

        limit = self._limits.loop_copy_rows_max
        as_of, cut = await self._reader.scan(request.options.min_position, context, size, limit, begin)
        page = await self._page(cut, after, page_size)
        return as_of + await self._page_bytes(page, cut.choice, request, report_pb2.ListFrontLineResponse())

    async def SummarizeDownline(self, request: report_pb2.SummarizeDownlineRequest, context: Context) -> bytes:
        """Members and volume of a downline by level, status, rank and kind."""
        dimensions = summaries.dimensions_of(request.dimensions)

        def begin(tree: Tree, ready: Ready) -> Callable[[], report_pb2.SummarizeDownlineResponse]:
            choice = self._reader.choice(tree, request.options)
            row_filter = compile_filter(request.filter, self._reader.catalogue(tree))
            status_names = list(tree.statuses.texts)

            def work() -> report_pb2.SummarizeDownlineResponse:
                extent = downline(tree, choice, request.member_id)
                tables = summaries.summarize(tree, choice, extent, row_filter, ready.buffers)
                return summaries.summary_answer(tables, dimensions, status_names)

            return work

        def size(tree: Tree) -> int:
            return downline_size(tree, self._reader.choice(tree, request.options), request.member_id)

        plain = not request.HasField("filter")
        limit = self._limits.loop_sum_rows_max if plain else self._limits.loop_copy_rows_max
        as_of, answer = await self._reader.scan(request.options.min_position, context, size, limit, begin)
        return as_of + answer.SerializeToString()

    async def ListDownline(self, request: report_pb2.ListDownlineRequest, context: Context) -> bytes:
        """A downline page by page."""
        after, size = _page_key(request), pages.page_size(request.page_size)
        as_of, cut = await self._cut(request, context, request.sort)
        page = await self._page(cut, after, size)
        return as_of + await self._page_bytes(page, cut.choice, request, report_pb2.ListDownlineResponse())

    async def StreamDownline(self, request: report_pb2.StreamDownlineRequest, context: Context) -> AsyncIterator[bytes]:
        """A whole downline in tree order, as of one position."""
        streams.check_format(request.format)
        if self.stream_count >= self._limits.streams_max:
            raise ResourceExhaustedError(
                f"{self._streams} streams are under way, the most that this node allows: try again, or another node",
                reason="TOO_MANY_STREAMS",
            )
        self._streams += 1
        watch: StallWatch | None = None
        try:
            head, pieces = await self._pieces(request, context)

            def let_go() -> None:
                pieces.close()
                self._streams -= 1

            watch = StallWatch(self._limits.stream_stall_s_max, let_go)
            # One piece is encoded while the one before it is sent.
            coming = self._reader.in_thread(lambda: next(pieces, None))
            while (piece := await coming) is not None:
                coming = self._reader.in_thread(lambda: next(pieces, None))
                watch.sending()
                yield head + piece if head else piece
                watch.taken()
                head = b""
            if head:
                yield head
        finally:
            if watch is not None:
                watch.close()
            if watch is None or not watch.stalled:
                self._streams -= 1

    async def _pieces(
        self, request: report_pb2.StreamDownlineRequest, context: Context
    ) -> tuple[bytes, Generator[bytes]]:
        """What a stream is as of, and its messages, which alone hold the copy."""
        head, cut = await self._cut(request, context)
        return head, await self._reader.in_thread(lambda: streams.pieces(cut, request.format, self._limits))

    async def SearchMembers(self, request: report_pb2.SearchMembersRequest, context: Context) -> bytes:
        """Members whose id begins with a prefix."""
        prefix = checked_id(request.prefix, "prefix")
        limit = pages.page_size(request.limit, SEARCH_LIMIT_MAX, SEARCH_LIMIT, "limit")

        def begin(tree: Tree, ready: Ready) -> Callable[[], bytes]:
            choice = self._reader.choice(tree, request.options)

            def work() -> bytes:
                rows = rows_by_prefix(tree.store, prefix, limit)
                return member_bytes(freeze(tree, choice, of_rows(tree, choice, rows)), choice)

            return work

        rows_max = self._limits.loop_sum_rows_max
        as_of, members = await self._reader.scan(request.options.min_position, context, everyone_size, rows_max, begin)
        return as_of + members

    async def ListHoldingTank(self, request: report_pb2.ListHoldingTankRequest, context: Context) -> bytes:
        """Members without a placement."""
        after, page_size = _page_key(request), pages.page_size(request.page_size)

        def begin(tree: Tree, ready: Ready) -> Callable[[], tuple[pages.Page, Choice]]:
            choice = self._reader.choice(tree, request.options)
            return lambda: (lists.holding_tank(tree, choice, request.member_id, after, page_size), choice)

        rows_max = self._limits.loop_sum_rows_max
        as_of, (page, choice) = await self._reader.scan(
            request.options.min_position, context, everyone_size, rows_max, begin
        )
        return as_of + await self._page_bytes(page, choice, request, report_pb2.ListHoldingTankResponse())

    async def ListHeldUpdates(self, request: report_pb2.ListHeldUpdatesRequest, context: Context) -> bytes:
        """Updates that wait for a member."""
        tree = await self._reader.tree_at(request.min_position, context)
        limit = pages.page_size(request.limit, field="limit")
        updates = [_outcome(held) for held in tree.held()[:limit]]
        answer = report_pb2.ListHeldUpdatesResponse(updates=updates, total_count=tree.held_count)
        return self._reader.as_of() + answer.SerializeToString()

    async def ListRejectedUpdates(self, request: report_pb2.ListRejectedUpdatesRequest, context: Context) -> bytes:
        """Updates that were refused since the import."""
        tree = await self._reader.tree_at(request.min_position, context)
        limit = pages.page_size(request.limit, field="limit")
        updates = [_outcome(rejected) for rejected in tree.rejected()[-limit:]]
        answer = report_pb2.ListRejectedUpdatesResponse(updates=updates, total_count=tree.rejected_count)
        return self._reader.as_of() + answer.SerializeToString()

    async def DescribeTree(self, request: report_pb2.DescribeTreeRequest, context: Context) -> bytes:
        """What the node's tree has."""
        tree = await self._reader.tree_at(request.min_position, context)
        catalogue = self._reader.catalogue(tree)
        answer = report_pb2.DescribeTreeResponse(
            members=tree.member_count,
            roots=tree.root_count,
            holding_tank=tree.holding_count,
            volume_types=catalogue.volume_types,
            periods=catalogue.periods,
        )
        for name, column in catalogue.further.items():
            answer.columns.add(name=name, type=COLUMN_TYPES[column.kind])
        return self._reader.as_of() + answer.SerializeToString()

    # --- what calls share

    async def _cut(
        self,
        request: report_pb2.ListDownlineRequest | report_pb2.StreamDownlineRequest,
        context: Context,
        sort_key: report_pb2.SortKey | None = None,
    ) -> tuple[bytes, Cut]:
        """The rows of a downline, copied; and what they are as of."""

        def plan(tree: Tree) -> tuple[Choice, RowFilter, pages.Sort, set[Column]]:
            choice, catalogue = self._reader.choice(tree, request.options), self._reader.catalogue(tree)
            row_filter = compile_filter(request.filter, catalogue)
            sort = pages.Sort() if sort_key is None else pages.sort_of(sort_key, catalogue)
            columns = {*row_filter.columns, *(() if sort_key is None else (MEMBER_ID, sort.column))}
            return choice, row_filter, sort, columns

        def begin_links(tree: Tree, buffers: Buffers | None) -> Callable[[], FrozenLinks]:
            choice, row_filter, _, columns = plan(tree)

            def work() -> FrozenLinks:
                extent = downline(tree, choice, request.member_id, row_filter.max_level)
                return freeze_links(tree, choice, extent, columns, buffers=buffers)

            return work

        def begin(tree: Tree, ready: Ready) -> Callable[[], Cut]:
            choice, row_filter, sort, columns = plan(tree)
            copied = ready.links if ready.links is not None and ready.links.still_hold(tree) else None
            copy_links = begin_links(tree, ready.buffers)

            def work() -> Cut:
                links = copied or copy_links()
                return Cut(freeze_values(links, choice, columns, buffers=ready.buffers), choice, row_filter, sort)

            return work

        def size(tree: Tree) -> int:
            return downline_size(tree, self._reader.choice(tree, request.options), request.member_id)

        def buffer_bytes(tree: Tree, count: int) -> int:
            choice, _, _, columns = plan(tree)
            return copy_bytes(tree, choice, columns, count)

        limit, position = self._limits.loop_copy_rows_max, request.options.min_position
        return await self._reader.scan(position, context, size, limit, begin, buffer_bytes, begin_links)

    async def _page(self, cut: Cut, after: PageKey | None, size: int) -> pages.Page:
        """A page of a cut: a small one here, a large one in a thread."""
        if cut.rows.count <= self._limits.loop_copy_rows_max:
            return pages.first_page(cut.members(), cut.sort, after, size)
        return await self._reader.in_thread(lambda: pages.first_page(cut.members(), cut.sort, after, size))

    async def _members(self, rows: FrozenRows, choice: Choice) -> bytes:
        """Rows on the wire: a few encoded here, many in a thread."""
        if rows.count <= self._limits.loop_encode_rows_max:
            return member_bytes(rows, choice)
        return await self._reader.in_thread(lambda: member_bytes(rows, choice))

    async def _page_bytes(self, page: pages.Page, choice: Choice, request: PagedRequest, rest: PagedResponse) -> bytes:
        """The answer without as_of."""
        rest.total_count = page.total_count
        if page.next_key is not None:
            rest.next_page_token = page_token(page.next_key, request_digest(request))
        return await self._members(page.rows, choice) + rest.SerializeToString()


def everyone_size(tree: Tree) -> int:
    """For reports that look at every member."""
    return tree.member_count


def _page_key(request: PagedRequest) -> PageKey | None:
    return read_page_token(request.page_token, request_digest(request)) if request.page_token else None


def _outcome(update: NotApplied) -> types_pb2.UpdateOutcome:
    return types_pb2.UpdateOutcome(
        position=update.position,
        update_id=update.update_id,
        outcome=update.outcome,
        reason=update.reason,
        waits_for_member_id=update.waits_for,
    )
