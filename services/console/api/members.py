"""The tree, for leaders and whoever looks for one of them: in the name of a token where the browser shows one.

A node answers a token with what its holder may see, and nothing else: no scope is known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import datetime
import io
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from aiohttp import web

from fasttree.client import Client, FastTreeClientError, Reports, to_hundredths
from fasttree.client.forms.members import Rows, as_of_json, enum_names
from fasttree.v1 import report_pb2, types_pb2
from services.console.http.answers import AskError, json_answer, whole_of
from services.console.http.guarding import in_name

ROW: Final = (
    "member_id", "sponsor_id", "level", "kind", "status", "rank", "joined_on", "pv", "gv", "downline_count",
)  # fmt: skip
_SIZE_MAX: Final = 2_000
_DAYS_MAX: Final = 31
_TREES: Final = {"": types_pb2.TREE_SPONSOR, "sponsor": types_pb2.TREE_SPONSOR, "placement": types_pb2.TREE_PLACEMENT}
_KINDS: Final = {name: number for number, name in enum_names(types_pb2.MemberKind.DESCRIPTOR).items()}
_ARROW: Final = "application/vnd.apache.arrow.stream"


class MemberPages:
    """What is asked of the nodes, through the VIP."""

    def __init__(self, client: Client, reports_max: int) -> None:
        self._client = client
        self._reports_max = reports_max
        #: Reports under way.
        self.open = 0

    def routes(self) -> Iterator[web.RouteDef]:
        """Where they are."""
        yield web.get("/api/tree", self._tree)
        yield web.get("/api/member", self._member)
        yield web.get("/api/upline", self._upline)
        yield web.get("/api/frontline", self._front_line)
        yield web.get("/api/downline", self._downline)
        yield web.get("/api/search", self._search)
        yield web.get("/api/summary", self._summary)
        yield web.get("/api/joined", self._joined)
        yield web.get("/api/export", self._export)

    @contextlib.asynccontextmanager
    async def _reports(self, request: web.Request) -> AsyncIterator[Reports]:
        """In whose name the browser asks. Raises HTTPUnauthorized, HTTPTooManyRequests."""
        client = in_name(request, self._client)
        if self.open >= self._reports_max:
            raise web.HTTPTooManyRequests(text="many reports are under way: ask again in a moment")
        self.open += 1
        try:
            yield client.reports
        finally:
            self.open -= 1

    async def _tree(self, request: web.Request) -> web.Response:
        async with self._reports(request) as reports:
            found = await reports.describe_tree()
        kinds = {number: name.lower() for number, name in enum_names(report_pb2.ColumnType.DESCRIPTOR).items()}
        return json_answer(
            {
                "as_of": as_of_json(found.as_of),
                **{name: getattr(found, name) for name in ("members", "roots", "holding_tank")},
                "volume_types": list(found.volume_types),
                "periods": list(found.periods),
                "columns": [{"name": one.name, "type": kinds.get(one.type, "")} for one in found.columns],
            }
        )

    async def _member(self, request: web.Request) -> web.Response:
        async with self._reports(request) as reports:
            options = _options(request.query, ["*", "volumes"])
            found = await reports.get_member(request.query.get("id", ""), options=options)
        member = next(iter(Rows([*ROW, "placement_id", "placement_leg", "volumes"]).json([found.member])))
        return json_answer({"as_of": as_of_json(found.as_of), "member": member, "columns": dict(found.member.columns)})

    async def _upline(self, request: web.Request) -> web.Response:
        async with self._reports(request) as reports:
            options = _options(request.query, ROW)
            found = await reports.list_upline(request.query.get("id", ""), options=options, page_size=_SIZE_MAX)
        return _page(found, ROW)

    async def _front_line(self, request: web.Request) -> web.Response:
        query = request.query
        asked = report_pb2.ListFrontLineRequest(
            member_id=query.get("id", ""),
            options=_options(query, ROW),
            sort=_sort(query),
            page_size=_size(query),
            page_token=query.get("page_token", ""),
        )
        async with self._reports(request) as reports:
            return _page(await reports.list_front_line(asked), ROW)

    async def _downline(self, request: web.Request) -> web.Response:
        query = request.query
        columns = _columns(query)
        asked = report_pb2.ListDownlineRequest(
            member_id=query.get("id", ""),
            options=_options(query, columns),
            filter=_filter(query),
            sort=_sort(query),
            page_size=_size(query),
            page_token=query.get("page_token", ""),
        )
        async with self._reports(request) as reports:
            return _page(await reports.list_downline(asked), columns)

    async def _search(self, request: web.Request) -> web.Response:
        async with self._reports(request) as reports:
            options = _options(request.query, ROW)
            found = await reports.search_members(request.query.get("prefix", ""), limit=20, options=options)
        return _page(found, ROW)

    async def _summary(self, request: web.Request) -> web.Response:
        asked = report_pb2.SummarizeDownlineRequest(
            member_id=request.query.get("id", ""), options=_options(request.query, ()), filter=_filter(request.query)
        )
        async with self._reports(request) as reports:
            found = await reports.summarize_downline(asked)
        names = enum_names(report_pb2.SummaryDimension.DESCRIPTOR)
        return json_answer(
            {
                "as_of": as_of_json(found.as_of),
                "total": _group(found.total),
                "by": {names[one.dimension]: [_group(group) for group in one.groups] for one in found.summaries},
            }
        )

    async def _joined(self, request: web.Request) -> web.Response:
        """How many joined on each of the days up to one."""
        days = _days(request.query)
        async with self._reports(request) as reports:

            async def count(day: str) -> int:
                asked = report_pb2.SummarizeDownlineRequest(
                    member_id=request.query.get("id", ""),
                    options=_options(request.query, ()),
                    filter=report_pb2.DownlineFilter(joined_from=day, joined_to=day, min_level=1),
                    dimensions=[report_pb2.SUMMARY_DIMENSION_KIND],
                )
                return int((await reports.summarize_downline(asked)).total.members)

            counts = await asyncio.gather(*map(count, days))
        return json_answer({"days": [{"day": day, "members": one} for day, one in zip(days, counts, strict=True)]})

    async def _export(self, request: web.Request) -> web.StreamResponse:
        """The whole downline in tree order, as of one position."""
        query = request.query
        columns, arrow = _columns(query), query.get("format") == "arrow"
        asked = report_pb2.StreamDownlineRequest(
            member_id=query.get("id", ""),
            options=_options(query, columns),
            filter=_filter(query),
            format=report_pb2.ROW_FORMAT_ARROW if arrow else report_pb2.ROW_FORMAT_MEMBERS,
        )
        async with self._reports(request) as reports, contextlib.aclosing(reports.stream_downline(asked)) as answers:  # type: ignore[type-var]
            first = await anext(answers)  # what is refused is refused before anything is sent
            response = web.StreamResponse(headers={"Content-Type": _ARROW if arrow else "text/csv; charset=utf-8"})
            await response.prepare(request)
            rows = Rows(columns)
            await response.write(b"" if arrow else _csv([columns]))
            try:
                await response.write(first.arrow or _csv(rows.texts(first.members)))
                async for answer in answers:
                    await response.write(answer.arrow or _csv(rows.texts(answer.members)))
            except FastTreeClientError:
                # A file that is cut off must not look whole.
                if request.transport is not None:
                    request.transport.abort()
                raise
            await response.write_eof()
            return response


def _page(found: Any, columns: Sequence[str]) -> web.Response:
    return json_answer(
        {
            "as_of": as_of_json(found.as_of),
            "members": list(Rows(columns).json(found.members)),
            "next_page_token": getattr(found, "next_page_token", ""),
            "total_count": getattr(found, "total_count", len(found.members)),
        }
    )


def _group(group: report_pb2.SummaryGroup) -> dict[str, Any]:
    return {"key": group.key, "members": group.members, "pv_hundredths": group.pv_hundredths}


def _csv(rows: Any) -> bytes:
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows(rows)
    return content.getvalue().encode()


def _options(query: Mapping[str, str], columns: Sequence[str]) -> report_pb2.ReportOptions:
    tree = _TREES.get(query.get("tree", ""))
    if tree is None:
        raise AskError("tree must be sponsor or placement")
    return report_pb2.ReportOptions(
        tree=tree,
        volume_type=query.get("volume_type", ""),
        period=query.get("period", ""),
        as_of_period=query.get("as_of_period", ""),
        columns=columns,
    )


def _columns(query: Mapping[str, str]) -> list[str]:
    """Those asked for, a JSON-free list: one a line, since a name may have any other character."""
    named = [name for name in query.get("columns", "").split("\n") if name]
    return named[:64] or list(ROW)


def _sort(query: Mapping[str, str]) -> report_pb2.SortKey | None:
    column = query.get("sort", "")
    return report_pb2.SortKey(column=column, descending=query.get("descending") == "1") if column else None


def _size(query: Mapping[str, str]) -> int:
    return min(max(whole_of(query, "size") or 100, 1), _SIZE_MAX)


def _filter(query: Mapping[str, str]) -> report_pb2.DownlineFilter:
    made = report_pb2.DownlineFilter(
        min_level=whole_of(query, "min_level"),
        max_level=whole_of(query, "max_level"),
        joined_from=query.get("joined_from", ""),
        joined_to=query.get("joined_to", ""),
        statuses=[query["status"]] if query.get("status") else [],
    )
    if kind := query.get("kind"):
        if kind not in _KINDS:
            raise AskError(f"kind must be {' or '.join(_KINDS)}")
        made.kinds.append(cast("types_pb2.MemberKind.ValueType", _KINDS[kind]))
    if query.get("min_rank"):
        made.min_rank = whole_of(query, "min_rank")
    for column in ("pv", "gv"):
        if least := query.get(f"min_{column}"):
            made.ranges.add(column=column, min=str(to_hundredths(least)))
    return made


def _days(query: Mapping[str, str]) -> list[str]:
    try:
        until = datetime.date.fromisoformat(query.get("until", ""))
    except ValueError:
        raise AskError("until must be a day, YYYY-MM-DD") from None
    count = min(whole_of(query, "days") or 14, _DAYS_MAX)
    return [(until - datetime.timedelta(days=back)).isoformat() for back in range(count - 1, -1, -1)]
