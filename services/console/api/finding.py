"""Members, found by how their id begins, or their name where the company keeps one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any, Final

from aiohttp import web

from fasttree.client import InvalidArgumentError, Reports
from fasttree.client.forms.members import Rows, as_of_json
from fasttree.v1 import report_pb2
from services.console.api.exports import Asking
from services.console.api.report_asks import ROW, options_of
from services.console.http.answers import AskError, json_answer

_FOUND_MAX: Final = 20
_ID_MAX: Final = 32
_NAME_MAX: Final = 64
#: After every name that begins so.
_LAST: Final = "\U0010ffff"
_TEXT: Final = report_pb2.COLUMN_TYPE_TEXT


class FindPages:
    """Of everybody who sees a downline."""

    def __init__(self, asking: Asking, name_column: str) -> None:
        self._asking = asking
        self._name_column = name_column

    def routes(self) -> Iterator[web.RouteDef]:
        """Where it is."""
        yield web.get("/api/search", self._search)

    async def _search(self, request: web.Request) -> web.Response:
        """By id first. A name is looked for as it is written, and with capitals as names have them."""
        prefix = request.query.get("prefix", "")
        if not 0 < len(prefix) <= _NAME_MAX:
            raise AskError(f"prefix must be 1 to {_NAME_MAX} characters")
        async with self._asking(request) as reports:
            tree = await reports.describe_tree()
            named = [
                one for one in tree.columns if (one.name, one.type) == (self._name_column, _TEXT) and not one.hidden
            ]
            column = self._name_column if named else ""
            columns = [*ROW, *([column] if column else [])]
            by_name = any(not one.personal for one in named)
            asks: list[Awaitable[Any]] = []
            if prefix.isascii() and prefix.isprintable() and len(prefix) <= _ID_MAX:
                options = options_of(request.query, columns)
                asks.append(reports.search_members(prefix, limit=_FOUND_MAX, options=options))
            as_written = dict.fromkeys((prefix, prefix.title())) if by_name else {}
            asks += [self._named(reports, request, written, columns) for written in as_written]
            found = [answer for answer in await asyncio.gather(*asks) if answer is not None]
        members = {one.member_id: one for answer in found for one in answer.members}
        rows = Rows(columns).json(list(members.values())[:_FOUND_MAX])
        shown = [{**row, "name": row.get(column, "")} for row in rows]
        return json_answer({"as_of": as_of_json(tree.as_of), "members": shown, "by_name": by_name})

    async def _named(self, reports: Reports, request: web.Request, written: str, columns: list[str]) -> Any:
        """In a leader's own downline, where it is a leader who asks."""
        asked = report_pb2.ListDownlineRequest(
            options=options_of(request.query, columns),
            filter=report_pb2.DownlineFilter(
                ranges=[report_pb2.ColumnRange(column=self._name_column, min=written, max=written + _LAST)]
            ),
            page_size=_FOUND_MAX,
        )
        try:
            return await reports.list_downline(asked)
        except InvalidArgumentError:
            return None  # of a tree that has lost the column meanwhile
