"""The tree, for leaders and whoever looks for one of them: in the name of a token where the browser shows one.

A node answers a token with what its holder may see, and nothing else: no scope is known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from fasttree.client import Client, Reports
from fasttree.client.forms.members import Rows, as_of_json, enum_names
from fasttree.v1 import report_pb2
from services.console.api.report_asks import ROW, SIZE_MAX, columns_of, filter_of, options_of, size_of, sort_of
from services.console.http.answers import AskError, json_answer, whole_of
from services.console.http.guarding import in_name

_DAYS_MAX: Final = 31


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
        yield web.get("/api/summary", self._summary)
        yield web.get("/api/joined", self._joined)

    @contextlib.asynccontextmanager
    async def reports(self, request: web.Request) -> AsyncIterator[Reports]:
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
        async with self.reports(request) as reports:
            found = await reports.describe_tree()
        kinds = {number: name.lower() for number, name in enum_names(report_pb2.ColumnType.DESCRIPTOR).items()}
        return json_answer(
            {
                "as_of": as_of_json(found.as_of),
                **{name: getattr(found, name) for name in ("members", "roots", "holding_tank")},
                "volume_types": list(found.volume_types),
                "periods": list(found.periods),
                "columns": [
                    {"name": one.name, "type": kinds.get(one.type, ""), "personal": one.personal}
                    for one in found.columns
                    if not one.hidden
                ],
            }
        )

    async def _member(self, request: web.Request) -> web.Response:
        async with self.reports(request) as reports:
            options = options_of(request.query, ["*", "volumes"])
            found = await reports.get_member(request.query.get("id", ""), options=options)
        member = next(iter(Rows([*ROW, "placement_id", "placement_leg", "volumes"]).json([found.member])))
        return json_answer({"as_of": as_of_json(found.as_of), "member": member, "columns": dict(found.member.columns)})

    async def _upline(self, request: web.Request) -> web.Response:
        async with self.reports(request) as reports:
            options = options_of(request.query, ROW)
            found = await reports.list_upline(request.query.get("id", ""), options=options, page_size=SIZE_MAX)
        return page_of(found, ROW)

    async def _front_line(self, request: web.Request) -> web.Response:
        query = request.query
        asked = report_pb2.ListFrontLineRequest(
            member_id=query.get("id", ""),
            options=options_of(query, ROW),
            sort=sort_of(query),
            page_size=size_of(query),
            page_token=query.get("page_token", ""),
        )
        async with self.reports(request) as reports:
            return page_of(await reports.list_front_line(asked), ROW)

    async def _downline(self, request: web.Request) -> web.Response:
        query = request.query
        columns = columns_of(query)
        asked = report_pb2.ListDownlineRequest(
            member_id=query.get("id", ""),
            options=options_of(query, columns),
            filter=filter_of(query),
            sort=sort_of(query),
            page_size=size_of(query),
            page_token=query.get("page_token", ""),
        )
        async with self.reports(request) as reports:
            return page_of(await reports.list_downline(asked), columns)

    async def _summary(self, request: web.Request) -> web.Response:
        asked = report_pb2.SummarizeDownlineRequest(
            member_id=request.query.get("id", ""),
            options=options_of(request.query, ()),
            filter=filter_of(request.query),
        )
        async with self.reports(request) as reports:
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
        async with self.reports(request) as reports:

            async def count(day: str) -> int:
                asked = report_pb2.SummarizeDownlineRequest(
                    member_id=request.query.get("id", ""),
                    options=options_of(request.query, ()),
                    filter=report_pb2.DownlineFilter(joined_from=day, joined_to=day, min_level=1),
                    dimensions=[report_pb2.SUMMARY_DIMENSION_KIND],
                )
                return int((await reports.summarize_downline(asked)).total.members)

            counts = await asyncio.gather(*map(count, days))
        return json_answer({"days": [{"day": day, "members": one} for day, one in zip(days, counts, strict=True)]})


def page_of(found: Any, columns: Sequence[str]) -> web.Response:
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


def _days(query: Mapping[str, str]) -> list[str]:
    try:
        until = datetime.date.fromisoformat(query.get("until", ""))
    except ValueError:
        raise AskError("until must be a day, YYYY-MM-DD") from None
    count = min(whole_of(query, "days") or 14, _DAYS_MAX)
    return [(until - datetime.timedelta(days=back)).isoformat() for back in range(count - 1, -1, -1)]
