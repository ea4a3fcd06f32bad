"""A row that is wrong in many ways says so at once: by kind, and in one line of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.treenode.imports.reading import FileFormat, ImportLimits, ImportRefusedError, Refusal, read_import

HEADER = "member_id,sponsor_id,kind,status,rank,joined_on,pv,points:integer\n"


def refusal(folder: Path, rows: str, limits: ImportLimits | None = None) -> Refusal:
    (folder / "members.csv").write_text(HEADER + rows)
    with pytest.raises(ImportRefusedError) as caught:
        read_import(folder / "members.csv", FileFormat.DETECT, limits=limits)
    return caught.value.refusal


def test_every_column_is_told(tmp_path: Path) -> None:
    found = refusal(tmp_path, "1,,D,A,1,2024-01-31,5,1\n2,9,Z,A,abc,2024-01-32,1.005,x\n3,1,D,A,abc,,,\n")
    assert [(kind.count, kind.column, kind.lines) for kind in found.kinds] == [
        (2, "rank", (3, 4)),
        *((1, column, (3,)) for column in ("kind", "joined_on", "pv", "points", "sponsor_id")),
    ]
    assert (found.rejected_count, [row.line for row in found.rejected_rows]) == (2, [3, 4])
    first = found.rejected_rows[0]
    assert first.column == "kind"
    for said in ('"Z" is not a kind', '; column rank: "abc"', '"1.005" has more than two', '"x" is not', 'sponsor "9"'):
        assert said in first.reason


def test_fields_that_could_not_be_told_apart_are_one_fault(tmp_path: Path) -> None:
    found = refusal(tmp_path, '1,,D,A,1,,,\n2,1,Z\n3,1,"Z"x,A,abc,,,\n')
    assert [(row.line, "; column" in row.reason) for row in found.rejected_rows] == [(3, False), (4, False)]
    assert [kind.count for kind in found.kinds] == [1, 1]


def test_what_could_not_be_read_brings_no_fault_of_another_row(tmp_path: Path) -> None:
    """Nor is it counted twice: a row is one row, whatever is wrong with it."""
    rows = "".join(f"{number},,Z,A,abc,,,\n" for number in range(1, 1_001))
    found = refusal(tmp_path, rows, ImportLimits(reported_rows=3))
    assert [(kind.count, kind.column) for kind in found.kinds] == [(1_000, "kind"), (1_000, "rank")]
    assert (found.rejected_count, [row.line for row in found.rejected_rows]) == (1_000, [2, 3, 4])


@pytest.mark.parametrize(
    ("header", "option"),
    [("Partner-Nr;Sponsor-Nr", "--separator"), ("Partner-Nr,sponsor_id", "--map member_id=HEADER")],
)
def test_a_header_of_another_form_names_the_option(tmp_path: Path, header: str, option: str) -> None:
    (tmp_path / "members.csv").write_text(f"{header}\n1,\n")
    with pytest.raises(ImportRefusedError) as caught:
        read_import(tmp_path / "members.csv")
    assert any(option in row.reason for row in caught.value.refusal.rejected_rows)
