"""fasttree.v1.ReportService: the calls, each a thin path from a request to an answer.

A call that reads a few members runs on the event loop, between two slices of updates. One that reads many copies what
it needs in a thread under the gate, and goes on from its copy. Either way its answer is of one position, which it
states: `as_of` is noted at the same moment, with no update in between.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

from fasttree.v1 import report_pb2
from services.shared.domain.limits import MEMBER_ID_LENGTH_MAX
from services.shared.security.caller import leads_of
from services.shared.serving.errors import PermissionDeniedError
from services.shared.wire.fields import tag
from services.treenode.reports.columns import MEMBER_ID, Kind
from services.treenode.reports.copy import lists
from services.treenode.reports.copy.cuts import Cut, downline_scan
from services.treenode.reports.copy.extents import (
    checked_prefix,
    downline,
    downline_size,
    front_line,
    front_line_size,
    of_rows,
    seen_rows,
    upline_size,
)
from services.treenode.reports.copy.freeze import freeze
from services.treenode.reports.copy.node_reader import Context, NodeReader, Ready, Scan
from services.treenode.reports.copy.revealed import Reveal
from services.treenode.reports.copy.search import rows_by_prefix
from services.treenode.reports.copy.view import NodeView
from services.treenode.reports.encode.members import member_bytes
from services.treenode.reports.encode.pieces import check_format, pieces
from services.treenode.reports.encode.single import MemberEncoder
from services.treenode.reports.limits import ReportLimits
from services.treenode.reports.order.pages import Page, first_page
from services.treenode.reports.outcomes import HeldPage, rejected_page
from services.treenode.reports.plan.choice import Choice
from services.treenode.reports.plan.filters import EVERYONE, compile_filter
from services.treenode.reports.plan.page_tokens import PageKey, page_token, read_page_token, request_digest
from services.treenode.reports.plan.paging import page_size, sort_of
from services.treenode.reports.rows import FrozenRows
from services.treenode.reports.streams.streams import Begun, Streams
from services.treenode.reports.summaries.summaries import dimensions_of, summarize, summary_answer

if TYPE_CHECKING:
    from services.treenode.tree import Tree

#: A `GetMemberRequest` begins with this byte and the id's length, and has the id there.
_ID_TAG, _ID_AT = tag(report_pb2.GetMemberRequest.MEMBER_ID_FIELD_NUMBER)[0], 2
#: Members of a batch that are encoded one by one: what all together begin with costs as much as some hundred of them.
_SINGLY_MAX = 100

#: Requests that are answered page by page.
PagedRequest = (
    report_pb2.ListUplineRequest
    | report_pb2.ListFrontLineRequest
    | report_pb2.ListDownlineRequest
    | report_pb2.ListHoldingTankRequest
)
PagedResponse = (
    report_pb2.ListUplineResponse
    | report_pb2.ListFrontLineResponse
    | report_pb2.ListDownlineResponse
    | report_pb2.ListHoldingTankResponse
)

SEARCH_LIMIT, SEARCH_LIMIT_MAX = 20, 1_000
COLUMN_TYPES: dict[Kind, report_pb2.ColumnType.ValueType] = {
    Kind.TEXT: report_pb2.COLUMN_TYPE_TEXT,
    Kind.INTEGER: report_pb2.COLUMN_TYPE_INTEGER,
    Kind.DECIMAL: report_pb2.COLUMN_TYPE_DECIMAL,
    Kind.DATE: report_pb2.COLUMN_TYPE_DATE,
}


class ReportServicer:
    """Answers reports from the node's tree. Used on the node's event loop; register it by `add_report_service`."""

    def __init__(
        self,
        view: NodeView,
        limits: ReportLimits | None = None,
        *,
        like: ReportServicer | None = None,
        reveal: Reveal | None = None,
    ) -> None:
        """`like`: another one, of another tree, whose limits, threads, memory and streams it shares. `reveal`: finds
        personal values, from the node's copy of the vault."""
        self._limits: ReportLimits = like._limits if like else limits or ReportLimits()
        self._reader: NodeReader = NodeReader(view, self._limits, like._reader if like else None, reveal)
        #: Memory for the copies of large reports.
        self.room = self._reader.room
        self._member = MemberEncoder()
        self.streams: Streams = like.streams if like else Streams(self._limits, self._reader.in_thread)

    def close(self) -> None:
        """Ends the service's threads, once its streams have ended."""
        self._reader.close()

    async def tree_at(self, min_position: int, context: Context) -> Tree:
        """As `NodeReader.tree_at`."""
        return await self._reader.tree_at(min_position, context)

    # --- calls

    async def GetMember(self, request: report_pb2.GetMemberRequest, context: Context) -> bytes:
        """One member."""
        reader = self._reader
        if not request.HasField("options") and leads_of(context) is None:
            tree = reader.tree_now() or await reader.tree_at(0, context)
            return reader.as_of() + self._member.encode(tree, reader.default_choice(tree), request.member_id)
        options = request.options
        tree = await reader.tree_at(options.min_position, context)
        return reader.as_of() + self._member.encode(tree, reader.choice(tree, options, context), request.member_id)

    def member_at_once(self, request: bytes) -> bytes | None:
        """The answer to a `GetMember` that names a member and nothing else, both as bytes; None where it takes the call
        itself to say what holds."""
        size = len(request) - _ID_AT
        if not (0 < size <= MEMBER_ID_LENGTH_MAX and request[0] == _ID_TAG and request[1] == size and request[-1]):
            return None
        reader = self._reader
        tree = reader.tree_now()
        if tree is None:
            return None
        member = self._member.encode_known(tree, reader.default_choice(tree), request[_ID_AT:])
        return None if member is None else reader.as_of() + member

    async def BatchGetMembers(self, request: report_pb2.BatchGetMembersRequest, context: Context) -> bytes:
        """Many members, in the order asked."""
        tree = await self._reader.tree_at(request.options.min_position, context)
        choice = self._reader.choice(tree, request.options, context)
        member_ids = list(request.member_ids)
        lists.check_batch(member_ids)
        as_of = self._reader.as_of()
        if len(member_ids) <= _SINGLY_MAX:
            each = self._member.encode_each(tree, choice, member_ids)
            if each is not None:
                members, unknown = each
                rest = report_pb2.BatchGetMembersResponse(unknown_member_ids=unknown)
                return as_of + members + rest.SerializeToString()
        rows, unknown = lists.batch(tree, choice, member_ids)
        rest = report_pb2.BatchGetMembersResponse(unknown_member_ids=unknown)
        return as_of + await self._members(rows, choice) + rest.SerializeToString()

    async def ListUpline(self, request: report_pb2.ListUplineRequest, context: Context) -> bytes:
        """Everyone above a member, page by page."""
        after, rows_max = _page_key(request, context), page_size(request.page_size)

        def begin(tree: Tree, ready: Ready) -> Callable[[], tuple[Page, Choice]]:
            choice = self._reader.choice(tree, request.options, context)
            above = (request.member_id, request.to_member_id)
            return lambda: (lists.upline(tree, choice, above, after, rows_max), choice)

        def size(tree: Tree) -> int:
            return upline_size(tree, self._reader.choice(tree, request.options, context), request.member_id)

        scan = Scan(size, self._limits.loop_copy_rows_max, begin)
        as_of, (page, choice) = await self._reader.scan(request.options.min_position, context, scan)
        return as_of + await self._page_bytes(page, choice, request, report_pb2.ListUplineResponse())

    async def ListFrontLine(self, request: report_pb2.ListFrontLineRequest, context: Context) -> bytes:
        """A member's direct children."""
        after, rows_max = _page_key(request, context), page_size(request.page_size)

        def begin(tree: Tree, ready: Ready) -> Callable[[], Cut]:
            choice = self._reader.choice(tree, request.options, context)
            sort = sort_of(request.sort, self._reader.catalogue(tree))

            def work() -> Cut:
                children = front_line(tree, choice, request.member_id)
                return Cut(freeze(tree, choice, children, (MEMBER_ID, sort.column)), choice, EVERYONE, sort)

            return work

        def size(tree: Tree) -> int:
            return front_line_size(tree, self._reader.choice(tree, request.options, context), request.member_id)

        scan = Scan(size, self._limits.loop_copy_rows_max, begin)
        as_of, cut = await self._reader.scan(request.options.min_position, context, scan)
        page = await self._page(cut, after, rows_max)
        return as_of + await self._page_bytes(page, cut.choice, request, report_pb2.ListFrontLineResponse())

    async def SummarizeDownline(self, request: report_pb2.SummarizeDownlineRequest, context: Context) -> bytes:
        """Members and volume of a downline by level, status, rank and kind."""
        dimensions = dimensions_of(request.dimensions)

        def begin(tree: Tree, ready: Ready) -> Callable[[], report_pb2.SummarizeDownlineResponse]:
            choice = self._reader.choice(tree, request.options, context)
            row_filter = compile_filter(request.filter, self._reader.catalogue(tree))
            status_names = list(tree.statuses.texts)

            def work() -> report_pb2.SummarizeDownlineResponse:
                tables = summarize(tree, choice, downline(tree, choice, request.member_id), row_filter)
                return summary_answer(tables, dimensions, status_names)

            return work

        def size(tree: Tree) -> int:
            return downline_size(tree, self._reader.choice(tree, request.options, context), request.member_id)

        plain = not request.HasField("filter")
        limit = self._limits.loop_sum_rows_max if plain else self._limits.loop_copy_rows_max
        as_of, answer = await self._reader.scan(request.options.min_position, context, Scan(size, limit, begin))
        return as_of + answer.SerializeToString()

    async def ListDownline(self, request: report_pb2.ListDownlineRequest, context: Context) -> bytes:
        """A downline page by page."""
        after, rows_max = _page_key(request, context), page_size(request.page_size)
        scan = downline_scan(self._reader, request, request.sort, self._limits.loop_copy_rows_max, context)
        as_of, cut = await self._reader.scan(request.options.min_position, context, scan)
        page = await self._page(cut, after, rows_max)
        return as_of + await self._page_bytes(page, cut.choice, request, report_pb2.ListDownlineResponse())

    async def StreamDownline(self, request: report_pb2.StreamDownlineRequest, context: Context) -> AsyncIterator[bytes]:
        """A whole downline in tree order, as of one position."""
        check_format(request.format)
        scan = downline_scan(self._reader, request, None, self._limits.loop_copy_rows_max, context)

        async def begin() -> Begun:
            as_of, cut = await self._reader.scan(request.options.min_position, context, scan)
            return as_of, await self._reader.in_thread(lambda: pieces(cut, request.format, self._limits))

        async with aclosing(self.streams.messages(begin)) as messages:
            async for message in messages:
                yield message

    async def SearchMembers(self, request: report_pb2.SearchMembersRequest, context: Context) -> bytes:
        """Members whose id begins with a prefix."""
        prefix = checked_prefix(request.prefix, "prefix")
        rows_max = page_size(request.limit, SEARCH_LIMIT_MAX, SEARCH_LIMIT, "limit")

        def begin(tree: Tree, ready: Ready) -> Callable[[], bytes]:
            choice = self._reader.choice(tree, request.options, context)

            def work() -> bytes:
                found = of_rows(tree, choice, rows_by_prefix(tree.store, prefix, rows_max, seen_rows(tree, choice)))
                return member_bytes(freeze(tree, choice, found), choice)

            return work

        scan = Scan(everyone_size, self._limits.loop_sum_rows_max, begin)
        as_of, members = await self._reader.scan(request.options.min_position, context, scan)
        return as_of + members

    async def ListHoldingTank(self, request: report_pb2.ListHoldingTankRequest, context: Context) -> bytes:
        """Members without a placement."""
        after, rows_max = _page_key(request, context), page_size(request.page_size)

        def begin(tree: Tree, ready: Ready) -> Callable[[], tuple[Page, Choice]]:
            choice = self._reader.choice(tree, request.options, context)
            return lambda: (lists.holding_tank(tree, choice, request.member_id, after, rows_max), choice)

        scan = Scan(everyone_size, self._limits.loop_sum_rows_max, begin)
        as_of, (page, choice) = await self._reader.scan(request.options.min_position, context, scan)
        return as_of + await self._page_bytes(page, choice, request, report_pb2.ListHoldingTankResponse())

    async def ListHeldUpdates(self, request: report_pb2.ListHeldUpdatesRequest, context: Context) -> bytes:
        """Updates that wait for a member."""
        _refuse_leaders(context)
        page = HeldPage(request)
        scan = Scan(page.size, self._limits.loop_copy_rows_max, lambda tree, ready: page.begin(tree))
        as_of, answer = await self._reader.scan(request.min_position, context, scan)
        return as_of + answer.SerializeToString()

    async def ListRejectedUpdates(self, request: report_pb2.ListRejectedUpdatesRequest, context: Context) -> bytes:
        """Updates that were refused since the import."""
        _refuse_leaders(context)
        tree = await self._reader.tree_at(request.min_position, context)
        answer = rejected_page(tree, request)
        return self._reader.as_of() + answer.SerializeToString()

    async def DescribeTree(self, request: report_pb2.DescribeTreeRequest, context: Context) -> bytes:
        """What the node's tree has."""

        def begin(tree: Tree, ready: Ready) -> Callable[[], report_pb2.DescribeTreeResponse]:
            choice = self._reader.choice(tree, report_pb2.ReportOptions(), context)
            catalogue = self._reader.catalogue(tree)
            hidden = self._reader.hidden(tree, context)

            def work() -> report_pb2.DescribeTreeResponse:
                members, roots, holding_tank = lists.counts(tree, choice)
                answer = report_pb2.DescribeTreeResponse(
                    members=members,
                    roots=roots,
                    holding_tank=holding_tank,
                    volume_types=filter(None, catalogue.volume_types),
                    periods=filter(None, catalogue.periods),
                )
                for name, column in catalogue.further.items():
                    told = answer.columns.add(name=name, type=COLUMN_TYPES[column.kind])
                    told.personal, told.hidden = name in catalogue.personal, name in hidden
                return answer

            return work

        def size(tree: Tree) -> int:
            return 0 if leads_of(context) is None else tree.member_count

        scan = Scan(size, self._limits.loop_sum_rows_max, begin)
        as_of, answer = await self._reader.scan(request.min_position, context, scan)
        return as_of + answer.SerializeToString()

    # --- what calls share

    async def _page(self, cut: Cut, after: PageKey | None, size: int) -> Page:
        """A page of a cut: a small one here, a large one in a thread."""
        if cut.rows.count <= self._limits.loop_copy_rows_max:
            return first_page(cut.members(), cut.sort, after, size)
        return await self._reader.in_thread(lambda: first_page(cut.members(), cut.sort, after, size))

    async def _members(self, rows: FrozenRows, choice: Choice) -> bytes:
        """Rows on the wire: a few encoded here, many in a thread."""
        if rows.count <= self._limits.loop_encode_rows_max:
            return member_bytes(rows, choice)
        return await self._reader.in_thread(lambda: member_bytes(rows, choice))

    async def _page_bytes(self, page: Page, choice: Choice, request: PagedRequest, rest: PagedResponse) -> bytes:
        """The answer without as_of."""
        rest.total_count = page.total_count
        if page.next_key is not None:
            rest.next_page_token = page_token(page.next_key, request_digest(request, choice.leads))
        return await self._members(page.rows, choice) + rest.SerializeToString()


def _refuse_leaders(context: Context) -> None:
    """Before what no leader sees: an update is nobody's downline's. Raises PermissionDeniedError."""
    if leads_of(context) is not None:
        raise PermissionDeniedError("a leader sees members of his downline, and no updates")


def everyone_size(tree: Tree) -> int:
    """For reports that look at every member."""
    return tree.member_count


def _page_key(request: PagedRequest, context: Context) -> PageKey | None:
    if not request.page_token:
        return None
    return read_page_token(request.page_token, request_digest(request, leads_of(context)))
