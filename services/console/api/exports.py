"""A whole downline as a file, as of one position: CSV and Excel for people, Arrow for programs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from aiohttp import web

from fasttree.client import FastTreeClientError, InvalidArgumentError, Reports
from fasttree.client.forms.members import Rows
from fasttree.v1 import report_pb2
from services.console.api.report_asks import columns_of, filter_of, options_of
from services.console.exports.cells import csv_lines
from services.console.exports.workbook import Workbook
from services.console.http.answers import AskError
from services.console.settings import ViewerSettings
from services.shared.domain.sentences import system_words
from services.shared.files.threads import in_thread

logger = logging.getLogger(__name__)

_ARROW: Final = "application/vnd.apache.arrow.stream"
_CSV: Final = "text/csv; charset=utf-8"
_EXCEL: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
#: Columns that count, of those that every member has.
_FIGURES: Final = frozenset({"level", "rank", "pv", "gv", "downline_count", "placement_leg"})
_NUMBERS: Final = (report_pb2.COLUMN_TYPE_INTEGER, report_pb2.COLUMN_TYPE_DECIMAL)
_BLOCK_BYTES: Final = 256 << 10

Made = TypeVar("Made")
#: In whose name a browser asks: see `MemberPages.reports`.
Asking = Callable[[web.Request], contextlib.AbstractAsyncContextManager[Reports]]


class ExportPages:
    """Of everybody who sees the downline."""

    def __init__(self, asking: Asking, settings: ViewerSettings) -> None:
        self._asking = asking
        self._rows_max = settings.workbook_rows_max
        self._workbooks = asyncio.Semaphore(settings.workbooks_max)

    def routes(self) -> Iterator[web.RouteDef]:
        """Where it is."""
        yield web.get("/api/export", self._export)

    async def _export(self, request: web.Request) -> web.StreamResponse:
        """In tree order. What is refused is refused before anything is sent."""
        form = request.query.get("format", "csv")
        if form not in ("csv", "arrow", "xlsx"):
            raise AskError("format must be csv, xlsx or arrow")
        columns = columns_of(request.query)
        asked = report_pb2.StreamDownlineRequest(
            member_id=request.query.get("id", ""),
            options=options_of(request.query, columns),
            filter=filter_of(request.query),
            format=report_pb2.ROW_FORMAT_ARROW if form == "arrow" else report_pb2.ROW_FORMAT_MEMBERS,
        )
        async with self._asking(request) as reports:
            if form == "xlsx":
                return await self._workbook(request, reports, asked, columns)
            async with contextlib.aclosing(reports.stream_downline(asked)) as answers:  # type: ignore[type-var]
                return await _streamed(request, answers, columns, is_arrow=form == "arrow")

    async def _workbook(
        self, request: web.Request, reports: Reports, asked: report_pb2.StreamDownlineRequest, columns: Sequence[str]
    ) -> web.StreamResponse:
        """Made whole before it is sent: its parts are packed last."""
        if self._workbooks.locked():
            raise web.HTTPTooManyRequests(text="other workbooks are being made: ask again in a moment, or take CSV")
        async with self._workbooks, contextlib.AsyncExitStack() as stack:
            tree = await reports.describe_tree()
            numbers = _FIGURES | {one.name for one in tree.columns if one.type in _NUMBERS}
            folder = await _on_disk(tempfile.TemporaryDirectory[str], prefix="fasttree-console-")
            stack.push_async_callback(in_thread, folder.cleanup)
            answers = reports.stream_downline(asked)
            stack.push_async_callback(answers.aclose)  # type: ignore[attr-defined]
            book = await _on_disk(Workbook, Path(folder.name), columns, frozenset(numbers))
            stack.push_async_callback(in_thread, book.abandon)
            await self._fill(book, answers, columns)
            await _on_disk(book.close)
            return await _sent(request, book.path)

    async def _fill(self, book: Workbook, answers: AsyncIterator[Any], columns: Sequence[str]) -> None:
        rows, count = Rows(columns), 0
        async for answer in answers:
            count += len(answer.members)
            if count > self._rows_max:
                raise InvalidArgumentError(
                    f"a workbook has {self._rows_max:,} rows at most here, and this downline is larger: filter it, or "
                    "take CSV, which has them all"
                )
            await _on_disk(book.write, list(rows.texts(answer.members)))


async def _on_disk(work: Callable[..., Made], *given: Any, **named: Any) -> Made:
    """A part of the making. Raises HTTPInsufficientStorage, where the disk won't have it."""
    try:
        return await in_thread(functools.partial(work, *given, **named))
    except OSError as error:
        # Its folder is the operators' to know, and the browser may be a leader's.
        logger.warning("a workbook can't be made in %s: %s", tempfile.gettempdir(), system_words(error))
        raise web.HTTPInsufficientStorage(
            text=f"no workbook can be made on the console's machine: {error.strerror or error}. Make room for its "
            "temporary files, or take CSV, which needs none"
        ) from None


async def _streamed(
    request: web.Request, answers: AsyncIterator[Any], columns: Sequence[str], *, is_arrow: bool
) -> web.StreamResponse:
    first = await anext(answers)
    response = web.StreamResponse(headers={"Content-Type": _ARROW if is_arrow else _CSV})
    await response.prepare(request)
    rows = Rows(columns)
    await response.write(b"" if is_arrow else csv_lines([columns]))
    try:
        await response.write(first.arrow or csv_lines(rows.texts(first.members)))
        async for answer in answers:
            await response.write(answer.arrow or csv_lines(rows.texts(answer.members)))
    except FastTreeClientError:
        # A file that is cut off must not look whole.
        if request.transport is not None:
            request.transport.abort()
        raise
    await response.write_eof()
    return response


async def _sent(request: web.Request, path: Path) -> web.StreamResponse:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        response = web.StreamResponse(headers={"Content-Type": _EXCEL, "Content-Length": str(size)})
        await response.prepare(request)
        while block := await in_thread(file.read, _BLOCK_BYTES):
            await response.write(block)
        await response.write_eof()
        return response
