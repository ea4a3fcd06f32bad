"""A downline as a file for spreadsheets: whole, typed, and with nothing in it that a spreadsheet would run."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import random
import resource
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from fasttree.v1 import report_pb2
from services.console.exports.cells import csv_lines, plain_cell
from services.console.exports.workbook import Workbook
from tests.console.conftest import Asking, running_console
from tests.fakes.cluster import FakeCluster
from tests.waiting import until

SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
FORMULAS = ("=1+1", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "|cmd", "%0A=1", "＝1+1")
PLAIN = ("-5", "-5.25", "12", "A=1", "", "ann@example.com", "02134")


def cells(content: bytes) -> list[list[tuple[str, str]]]:
    """Kind and value of each cell, by row: as the file has them, without a spreadsheet's own reading."""
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    assert not list(sheet.iter(f"{SHEET}f")), "there is a formula"
    assert not list(sheet.iter(f"{SHEET}hyperlink"))
    rows = []
    for row in sheet.iter(f"{SHEET}row"):
        found = []
        for cell in row.iter(f"{SHEET}c"):
            text = "".join(part.text or "" for part in cell.iter() if part.tag in (f"{SHEET}v", f"{SHEET}t"))
            found.append((cell.get("t", "n"), text))
        rows.append(found)
    return rows


def written(tmp_path: Path, columns: list[str], rows: list[tuple[Any, ...]], numbers: set[str]) -> Any:
    book = Workbook(tmp_path, columns, frozenset(numbers))
    book.write(rows)
    book.close()
    return cells(book.path.read_bytes())


@pytest.mark.parametrize("text", FORMULAS, ids=map(str, range(len(FORMULAS))))
def test_no_text_is_a_formula(tmp_path: Path, text: str) -> None:
    assert plain_cell(text) == f"'{text}"
    assert csv_lines([[text]]).decode().startswith(("'", "\"'"))
    (_, (found,)) = written(tmp_path, [text], [(text,)], {text})
    assert found == ("inlineStr", text.replace("\r", "_x000D_"))  # as Excel spells it


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_none_stays_as_it_is(text: str) -> None:
    assert plain_cell(text) == text


def test_numbers_count_and_texts_of_digits_stay_texts(tmp_path: Path) -> None:
    rows = written(
        tmp_path,
        ["zip", "pv", "rank"],
        [("02134", "1234.50", 7), ("https://x.example", "92233720368547758.07", -1), ("", "many", None)],
        {"pv", "rank"},
    )
    assert rows[0] == [("inlineStr", "zip"), ("inlineStr", "pv"), ("inlineStr", "rank")]
    assert rows[1] == [("inlineStr", "02134"), ("n", "1234.5"), ("n", "7")]
    # What Excel would round is a text, and an empty cell is none.
    assert rows[2] == [("inlineStr", "https://x.example"), ("inlineStr", "92233720368547758.07"), ("n", "-1")]
    assert rows[3] == [("inlineStr", "many")]


async def test_a_downline_is_a_workbook(cluster: FakeCluster, console: Asking) -> None:
    cluster.reports.columns.append(report_pb2.ColumnDescription(name="points", type=report_pb2.COLUMN_TYPE_INTEGER))
    for number, member in enumerate(cluster.reports.members):
        member.columns["country"] = "=HYPERLINK(1)"
        member.columns["points"] = str(number)
    async with console.session.get("/api/export?id=m0&format=xlsx&columns=member_id%0Apv%0Acountry%0Apoints") as answer:
        assert answer.content_type.endswith("spreadsheetml.sheet")
        rows = cells(await answer.read())
    assert len(rows) == 1 + len(cluster.reports.members)
    assert rows[3] == [("inlineStr", "m2"), ("n", "2"), ("inlineStr", "=HYPERLINK(1)"), ("n", "2")]
    async with console.session.get("/api/export?id=m0&columns=member_id%0Acountry") as answer:
        assert (await answer.text()).splitlines()[1] == "m0,'=HYPERLINK(1)"
    assert (await console.get("/api/export?format=odt"))[0] == 400


async def test_a_larger_downline_is_refused_as_a_workbook_and_says_the_way_out(cluster: FakeCluster) -> None:
    async with running_console(cluster, workbook_rows_max=3) as console:
        status, answer = await console.get("/api/export?id=m0&format=xlsx")
        assert (status, "take CSV" in answer["error"]["message"]) == (400, True)
        async with console.session.get("/api/export?id=m0") as whole:
            assert whole.status == 200


async def test_a_workbook_that_breaks_off_is_none_and_leaves_no_file(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with running_console(cluster, workbooks_max=1) as console:
        cluster.reports.break_stream = True
        assert (await console.get("/api/export?id=m0&format=xlsx"))[0] >= 500
        cluster.reports.break_stream = False
        # One more than are made at a time is refused, and once it is over the next one is taken.
        cluster.reports.open.clear()
        asking = [asyncio.create_task(_read(console)) for _ in range(2)]
        refused, held = await asyncio.wait(asking, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        assert [each.result() for each in refused] == [429]
        cluster.reports.open.set()
        assert [await each for each in held] == [200]

        async def taken() -> bool:
            return await _read(console) == 200

        await until(taken, "the place of the one that was held to be free")
    assert list(tmp_path.iterdir()) == []


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 20_000], ids=["none", "little"])
async def test_a_full_disk_is_said_and_keeps_nothing(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, room: int
) -> None:
    """While rows are written, and while its parts are packed; CSV needs no disk, and afterwards all goes on."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cluster.reports.columns.append(report_pb2.ColumnDescription(name="note", type=report_pb2.COLUMN_TYPE_TEXT))
    draw = random.Random(1)
    for member in cluster.reports.members:
        member.columns["note"] = "".join(draw.choices("0123456789abcdef", k=30_000))
    path = "/api/export?id=m0&columns=member_id%0Anote"
    before = set(os.listdir("/proc/self/fd"))
    async with running_console(cluster) as console:
        for _ in range(2):
            with full_disk(room):
                status, answer = await console.get(f"{path}&format=xlsx")
            assert (status, answer["error"]["code"]) == (507, "INSUFFICIENT_STORAGE")
            assert "Make room for its temporary files, or take CSV" in answer["error"]["message"]
            assert str(tmp_path) not in answer["error"]["message"]
            assert list(tmp_path.iterdir()) == []
        with full_disk(room):
            async with console.session.get(path) as csv:
                assert (csv.status, len((await csv.text()).splitlines())) == (200, 1 + len(cluster.reports.members))
        assert [held for held in _held_files(before) if str(tmp_path) in held] == []
        assert await _read(console) == 200
    assert f"can't be made in {tmp_path}: " in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_when_the_parts_are_packed_is_said_as_the_system_says_it(tmp_path: Path) -> None:
    book = Workbook(tmp_path, ["note"], frozenset())
    book.write([("x" * 30_000,) for _ in range(20)])
    largest = max(file.stat().st_size for file in tmp_path.iterdir())
    with full_disk(largest), pytest.raises(OSError, match="File too large"):
        book.close()
    book.abandon()


def _held_files(but: set[str]) -> list[str]:
    """What this process has open besides."""
    found = []
    for name in set(os.listdir("/proc/self/fd")) - but:
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found


async def _read(console: Asking) -> int:
    async with console.session.get("/api/export?id=m0&format=xlsx") as answer:
        await answer.read()
        return answer.status
