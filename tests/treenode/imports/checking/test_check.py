"""All that is wrong with a file is said at once, and its refused rows are written as they stand in it."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow.csv
import pyarrow.parquet
import pytest

from services.treenode.imports.checking.check import CheckReport, CheckRequest, check_file
from tests.treenode.imports.reading.bad_file import GOOD, HEADER, WIDE_GOOD, WIDE_HEADER, csv_file


def _check(content: bytes, folder: Path, name: str = "own.csv", *, refused: str = "", **more: object) -> CheckReport:
    (folder / name).write_bytes(content)
    rules = {"volume_types": ["PV"], "periods": ["2026-11"], "columns": {}, **more}
    refused_path = str(folder / refused) if refused else ""
    return check_file(CheckRequest(path=str(folder / name), refused_path=refused_path, **rules))  # type: ignore[arg-type]


def test_a_good_file_is_counted(tmp_path: Path) -> None:
    assert _check(csv_file(*GOOD), tmp_path) == CheckReport(rows=6)


def test_what_is_wrong_with_the_header_hides_no_row(tmp_path: Path) -> None:
    report = _check(csv_file("100,,A,1.5", "101,100,A,x", header="member_id,sponsor_id,status,rank"), tmp_path)
    assert [problem.column for problem in report.problems] == ["joined_on", "pv"]
    assert (report.rows, report.refused_rows) == (2, 2)
    assert [(kind.count, kind.column, kind.lines) for kind in report.kinds] == [(2, "rank", (2, 3))]


def test_rows_are_not_looked_at_where_none_can_be_told(tmp_path: Path) -> None:
    report = _check(csv_file(*GOOD, header=HEADER.replace("member_id", "x1")), tmp_path)
    assert [problem.column for problem in report.problems] == ["member_id"]
    assert report.remark == "rows are looked at once that is right"


def test_the_rules_of_the_log_hold(tmp_path: Path) -> None:
    content = csv_file(*(f"{row},5" for row in GOOD), header=HEADER.replace("pv", "cv") + ",points")
    assert [problem.column for problem in _check(content, tmp_path).problems] == ["pv"]
    assert _check(content, tmp_path, volume_types=["PV", "CV"], columns={"points": "integer"}) == CheckReport(rows=6)
    dates = _check(content, tmp_path, volume_types=["CV"], columns={"points": "date"})
    assert [(kind.count, kind.column) for kind in dates.kinds] == [(6, "points")]


def test_volumes_for_which_there_is_no_room_are_told_by_the_header(tmp_path: Path) -> None:
    """Few columns may cross to many pairs of a type and a period; each pair costs every node columns of its own."""
    types = [f"v{number}:2026-11" for number in range(31)]
    months = [f"pv:{year}-01" for year in range(2000, 2032)]

    def problems(*volumes: str, sealed: Sequence[str] = ()) -> list[tuple[int, str, str]]:
        header = ",".join([HEADER.rpartition(",")[0], *volumes])
        report = _check(csv_file("1,,A,1," + ",0" * len(volumes), header=header), tmp_path, sealed_periods=list(sealed))
        assert (report.rows, report.refused_rows) == (0 if report.problems else 1, 0)
        return [(problem.line, problem.column, problem.reason) for problem in report.problems]

    assert problems(*types, *months[:-1]) == []
    (crossed,) = problems(*types, *months)
    assert crossed == (
        1,
        "pv:2031-01",
        "with those that the cluster has, 32 volume types in 33 periods are 1,056 pairs, and 1,024 fit: leave some "
        "out, or close periods (`fasttree period close`)",
    )
    history = [f"pv:{year}-{month:02}" for year in range(2010, 2021) for month in range(1, 13)]
    assert problems(*history[:119]) == []
    (months_told,) = problems(*history)
    assert months_told == (
        1,
        "pv:2019-12",
        "132 periods more than the 1 that take orders make 133, and 120 fit: leave some out, or close some "
        "(`fasttree period close`)",
    )
    assert problems(*history, sealed=[name[3:] for name in history]) == []
    (types_told,) = problems(*(f"v{number}:2026-11" for number in range(64)))
    assert types_told[1:] == (
        "v63:2026-11",
        "64 volume types more than the 1 that the cluster has make 65, and 64 fit: leave some out",
    )


@pytest.mark.parametrize("packed", [False, True])
def test_refused_rows_are_written_as_they_stand(packed: bool, tmp_path: Path) -> None:
    rows = [*WIDE_GOOD, '106,100,,,,A,x,,1,"two\nlines"', '107,100,,,,A,1,,1,"no"end', "108,,,,,A,1,,1,März", "109,1"]
    content = csv_file(*rows, header=WIDE_HEADER)
    name, content = ("own.csv.gz", gzip.compress(content)) if packed else ("own.csv", content)
    report = _check(content, tmp_path, name, refused="refused.csv")
    assert (report.rows, report.refused_rows, report.written_rows) == (10, 3, 3)
    header, *written = csv.reader((tmp_path / "refused.csv").open(encoding="utf-8", newline=""))
    assert header == ["line", "column", "reason", *WIDE_HEADER.split(",")]
    assert [(line, column) for line, column, *_ in written] == [("8", "rank"), ("10", "note"), ("12", "")]
    assert written[0][3:] == ["106", "100", "", "", "", "A", "x", "", "1", "two\nlines"]
    assert written[1][3:] == ['107,100,,,,A,1,,1,"no"end']
    assert written[2][3:] == ["109", "1"]


def test_refused_rows_beyond_those_that_are_told_are_written_too(tmp_path: Path) -> None:
    content = csv_file("1,,A,1,,1", *(f"{n},1,A,x,,1" for n in range(2, 1_002)))
    report = _check(content, tmp_path, refused="refused.csv")
    assert (report.refused_rows, report.written_rows) == (1_000, 1_000)
    assert len((tmp_path / "refused.csv").read_text().splitlines()) == 1_001


def test_refused_rows_of_parquet_go_by_their_place(tmp_path: Path) -> None:
    table = pyarrow.csv.read_csv(pyarrow.py_buffer(csv_file(*GOOD, "106,100,A,-1,,1")))
    pyarrow.parquet.write_table(table, tmp_path / "own.parquet")
    report = _check((tmp_path / "own.parquet").read_bytes(), tmp_path, "own.parquet", refused="refused.csv")
    assert report.refused_rows == 1
    assert (tmp_path / "refused.csv").read_text().splitlines()[1].startswith("8,rank,")


def test_the_process_says_what_can_not_be_read(tmp_path: Path) -> None:
    request = CheckRequest(path=str(tmp_path / "no.csv"), volume_types=["PV"], periods=["2026-11"], columns={})
    command = [sys.executable, "-m", "services.treenode.imports.checking.process"]
    line = json.dumps({name: getattr(request, name) for name in request.__struct_fields__})
    ran = subprocess.run(command, input=line + "\n", capture_output=True, text=True, timeout=120)
    assert json.loads(ran.stdout) == {"type": "Failed", "reason": f"{tmp_path}/no.csv: No such file or directory"}


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-16", "it is UTF-16: save it as UTF-8"),
        ("utf-16-be", "UTF-8"),
        ("utf-32", "UTF-8"),
        ("cp500", "save the file as UTF-8"),
    ],
)
def test_a_file_of_another_encoding_is_told_in_words_and_nothing_is_guessed(
    encoding: str, told: str, tmp_path: Path
) -> None:
    marked = "\ufeff" if encoding == "utf-16-be" else ""
    report = _check((marked + csv_file(*GOOD).decode()).encode(encoding), tmp_path)
    assert told in report.problems[0].reason
    assert report.guesses == ()
    assert json.loads(msgspec.json.encode(report))["rows"] == 0


def test_a_header_that_begins_with_control_characters_is_offered_to_nobody(tmp_path: Path) -> None:
    report = _check(bytes(100) + csv_file(*GOOD), tmp_path)
    assert report.guesses == ()
    assert report.problems
