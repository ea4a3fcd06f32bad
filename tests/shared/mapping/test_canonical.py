"""A file of another form, written anew: the same rows on the same lines, or what is wrong with them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from services.shared.mapping.canonical import KnownColumns, MappingError, Rewritten, rewrite
from services.shared.mapping.process import Done, NotOfProfile, RewriteRequest, answer
from services.shared.mapping.profile import Profile, profile_of
from services.treenode.imports.reading import read_import
from tests.newcomer_file import NAMES, newcomer_csv

OWN = profile_of({"member_id": "ID", "joined_on": "ENROLLED"}, ";", "MM/DD/YYYY", "1,234.50")


def _rewrite(
    content: bytes, folder: Path, profile: Profile = OWN, known: KnownColumns | None = None
) -> tuple[bytes, Rewritten]:
    (folder / "own").write_bytes(content)
    found = rewrite(folder / "own", folder / "written", profile, known or KnownColumns())
    return (folder / "written").read_bytes(), found


def test_names_separators_days_and_numbers(tmp_path: Path) -> None:
    content = '\ufeffid;SPONSOR_ID;Enrolled;PV;Note\r\n7;;03/14/2024;"1,234.50";"a, b; ""c"""\r\n8;7;;;\r\n'.encode()
    written, found = _rewrite(content, tmp_path)
    assert written.decode() == 'member_id,SPONSOR_ID,joined_on,PV,Note\n7,,2024-03-14,1234.50,"a, b; ""c"""\n8,7,,,\n'
    assert (found.rows, found.faults) == (2, {})


def test_each_row_stands_on_its_line(tmp_path: Path) -> None:
    content = b'ID;ENROLLED;PV;note\n1;;1;"a\r\nb\nc"\n\n2;;x"y;\n3;;1;"\n"\n4;4/1/2024;2.5;\n\n\n'
    written, found = _rewrite(content, tmp_path)
    lines = written.decode().split("\n")
    content_lines = content.decode().split("\n")
    for number in ("1", "3", "4"):
        assert [line.split(",")[0].split(";")[0] for line in lines].index(number) == [
            line.split(";")[0] for line in content_lines
        ].index(number)
    assert sorted(found.faults) == found_lines(found) == [6]
    assert found.empty_lines == {6}
    assert written.endswith(b"4,2024-04-01,2.5,\n")


def found_lines(found: Rewritten) -> list[int]:
    return [line for kind in found.tally.kinds() for line in kind.lines]


def test_what_is_not_of_the_form_is_told_and_left_empty(tmp_path: Path) -> None:
    rows = "".join(f"{n};2024-03-14;{'12,50' if n % 2 else '12.50'}\n" for n in range(100))
    written, found = _rewrite(f"ID;ENROLLED;PV\n{rows}".encode(), tmp_path)
    assert b"2024" not in written
    assert b"1,,\n" in written
    assert (found.fault_count, len(found.faults)) == (100, 100)
    assert [(kind.count, kind.column, kind.lines[0]) for kind in found.tally.kinds()] == [
        (100, "ENROLLED (joined_on)", 2),
        (50, "PV", 3),
    ]


def test_which_columns_hold_days_and_numbers_the_log_says(tmp_path: Path) -> None:
    known = KnownColumns(("QV",), {"Renewal": "date", "points": "integer", "size": "text"})
    header = "ID;ENROLLED;pv;qv;renewal;POINTS;size;rate:decimal;cv:2026-10;sponsor_id;rank"
    values = '7;;"1,000";"1,000";03/14/2024;"1,000";"1,000";"1,000";"1,000";"1,000";"1,000"'
    written, found = _rewrite(f"{header}\n{values}\n".encode(), tmp_path, known=known)
    assert written.decode().splitlines()[1] == '7,,1000,1000,2024-03-14,1000,"1,000",1000,1000,"1,000","1,000"'
    assert found.faults == {}


def test_a_packed_file_stays_packed_and_is_no_bomb(tmp_path: Path) -> None:
    written, _ = _rewrite(gzip.compress(b"ID;ENROLLED\n1;3/4/2024\n"), tmp_path)
    assert gzip.decompress(written) == b"member_id,joined_on\n1,2024-03-04\n"
    with pytest.raises(MappingError, match="taken for a bomb"):
        _rewrite(gzip.compress(b"ID;ENROLLED\n" + (b"1;" + b" " * 1_000 + b"\n") * 80_000), tmp_path)
    with pytest.raises(MappingError, match="damaged or was cut off"):
        _rewrite(gzip.compress(b"ID;ENROLLED\n1;3/4/2024\n" * 100)[:-12], tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it holds no line"),
        (b"id,ENROLLED\n", 'has no column "ID", "ENROLLED"; it has "id,ENROLLED"'),
        (b"ID;NAME\n1;x\n", 'has no column "ENROLLED"; it has "ID", "NAME"'),
        (b"ID;id;Enrolled;ENROLLED\n", "twice"),
        (b'ID;"ENROL\nLED"\n', "line 1"),
        (b'"ID;ENROLLED\n1;\n', "line 1"),
        (b"PAR1" + bytes(50), "a profile is for CSV"),
        (b"\xff\xfeI\0D\0", "UTF-16"),
        (b"ID;ENROLLED\n" + b"x" * (4 << 20), "line 2: it is longer"),
        (b"ID;ENROLLED\n" + b"\n" * (3 << 20) + b"1;\n", "empty lines"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_files_that_are_none(content: bytes, told: str, tmp_path: Path) -> None:
    if told == "twice":
        _rewrite(b"ID;id;Enrolled;ENROLLED\n", tmp_path)  # the same letters go before others
        content = b"Id;id;ENROLLED\n"
    with pytest.raises(MappingError) as error:
        _rewrite(content, tmp_path)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_newcomers_file_is_read_as_if_it_had_been_written_so(tmp_path: Path) -> None:
    profile = profile_of(NAMES, ";", "MM/DD/YYYY", "1,234.50")
    (tmp_path / "own.csv").write_bytes(newcomer_csv())
    rewrite(tmp_path / "own.csv", tmp_path / "written.csv", profile, KnownColumns())
    table = read_import(tmp_path / "written.csv")
    assert len(table) == 800


def _asked(folder: Path, content: bytes, **more: object) -> RewriteRequest:
    (folder / "own").write_bytes(content)
    given = {"source": str(folder / "own"), "target": str(folder / "written"), "profile": OWN}
    return RewriteRequest(**{**given, "volume_types": ["PV"], "columns": {}, **more})  # type: ignore[arg-type]


def test_the_process_says_what_came_of_it(tmp_path: Path) -> None:
    assert answer(_asked(tmp_path, b"ID;ENROLLED;PV\n1;;\n")) == Done(rows=1)
    refused = answer(_asked(tmp_path, b'ID;ENROLLED;PV\n1;x;\n2;y;\n3;;a"b\n'))
    assert isinstance(refused, NotOfProfile)
    assert refused.reason == (
        '3 rows are not as the profile says: 2 x column ENROLLED (joined_on) (line 2 and others): "x" is not a day '
        "written as MM/DD/YYYY: correct it, or leave it empty if unknown; 1 x line 4: its quotes can't be read: close "
        "each quote that begins a field, and double those inside"
    )
    gone = answer(_asked(tmp_path, b"ID;ENROLLED\n", target=str(tmp_path / "no" / "folder")))
    assert "No such file" in getattr(gone, "reason", "")


def test_what_no_column_can_hold_is_told_as_it_stands_in_the_file(tmp_path: Path) -> None:
    own = profile_of({}, ";", "DD.MM.YYYY", "1.234,50")
    rows = "1;32.01.2024;1,005;1,5;1\n2;31.01.2024;99.999.999.999.999.999,00;2;1,1234567\n3;1.2.2024;-1,50;+3;2,5\n"
    written, found = _rewrite(f"member_id;joined_on;pv;points:integer;rate:decimal\n{rows}".encode(), tmp_path, own)
    assert [(row.line, row.column, row.reason.split("; column")[0]) for row in found.faults.values()] == [
        (2, "joined_on", '"32.01.2024" is not in the calendar: correct it, or leave it empty if unknown'),
        (3, "pv", '"99.999.999.999.999.999,00" is out of range: at most 92233720368547758.07 either way'),
    ]
    told = {kind.column: kind.reason for kind in found.tally.kinds() if kind.lines == (2,)}
    assert '"1,005" has more than two decimal places' in told["pv"]
    assert '"1,5" has more than the 0 decimal places' in told["points:integer"]
    assert '; column pv: "1,005" has' in found.faults[2].reason
    assert '; column rate:decimal: "1,1234567" has more than the 6' in found.faults[3].reason
    assert written.splitlines()[3] == b"3,2024-02-01,-1.50,+3,2.5"
