"""Random files, good and bad, against the plain reader: the same members, or the same wrong lines and columns."""

from __future__ import annotations

import csv
import gzip
import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.shared.domain.limits import NO_DAY
from services.treenode.imports.reading import ImportLimits, ImportRefusedError, read_import
from services.treenode.tree.table import ImportTable
from tests.treenode.imports.reading.naive import NaiveMember, read_naively
from tests.treenode.tree.reads import texts_of

_COLUMNS = (
    "member_id",
    "sponsor_id",
    "placement_id",
    "placement_leg",
    "kind",
    "status",
    "rank",
    "joined_on",
    "pv",
    "note",
)
_IDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=34)
_FEW_IDS = st.sampled_from(["1", "2", "3", "A", "B", "0001", "a b", 'q"x', "x,y"])
#: Mostly right, and now and then wrong.
_VALUES = {
    "placement_leg": st.sampled_from(["", "", "L", "R", "1", "2", "3", "64", "65", "66", "0", "x", "r"]),
    "kind": st.sampled_from(["", "", "D", "c", "Customer", "DISTRIBUTOR", "custom"]),
    "status": st.sampled_from(["", "A", "C", "A", "C", "X Y", "1234567890123456", "12345678901234567", "é"]),
    "rank": st.sampled_from(["", "0", "5", "007", "32767", "32768", "-1", "1.0"]),
    "joined_on": st.dates().map(str) | st.sampled_from(["", "", "2023-02-29", "2024-02-29", "1999-1-1", "x"]),
    "note": st.text(st.sampled_from('ab,";\t\n é'), max_size=12)
    | st.sampled_from(["", "007", "\r\n", '"', "x\n" * 512, "\x1b", "\0"]),
    "pv": st.decimals(-(10**12), 10**12, places=2).map(str)
    | st.sampled_from(["", "0", "-0.00", "5", "5.1", "5.123", "1e3", "92233720368547758.08", "-", "."]),
}


@st.composite
def _files(draw: st.DrawFn) -> str:
    """A CSV text: links go mostly to members that exist."""
    ids = draw(st.lists(_IDS | _FEW_IDS, min_size=1, max_size=12))
    above = st.sampled_from([*ids, "", "", "", "nobody"])
    values = {"member_id": st.nothing(), "sponsor_id": above, "placement_id": above} | _VALUES
    tame = draw(st.booleans())
    header = draw(st.permutations(_COLUMNS))
    out = io.StringIO()
    dialect = draw(st.sampled_from(["excel", "unix"]))
    # One quotes what must be quoted, the other everything.
    writer = csv.writer(out, lineterminator=draw(st.sampled_from(["\n", "\r\n"])), dialect=dialect)
    writer.writerow(header)
    for place, member_id in enumerate(dict.fromkeys(ids) if tame else ids):
        row: dict[str, Any] = dict.fromkeys(_COLUMNS, "") | {"member_id": member_id}
        if tame:
            row["sponsor_id"] = draw(st.sampled_from(["", *list(dict.fromkeys(ids))[:place]]))
        for name in draw(st.sets(st.sampled_from(_COLUMNS[2 if tame else 1 :]))):
            row[name] = draw(values[name])
        writer.writerow([row[name] for name in header])
    return out.getvalue()


def _as_members(table: ImportTable) -> dict[str, NaiveMember]:
    def id_of(row: int) -> str:
        return bytes(table.member_ids[row]).decode() if row >= 0 else ""

    notes = texts_of(table.further["note"])
    return {
        id_of(row): NaiveMember(
            sponsor_id=id_of(int(table.sponsor[row])),
            placement_id=id_of(int(table.placement[row])),
            placement_leg=int(table.placement_leg[row]),
            kind=int(table.kind[row]),
            status=table.status_names[table.status[row]],
            rank=int(table.rank[row]),
            joined_on=None if table.joined_on[row] == NO_DAY else int(table.joined_on[row]),
            pv=int(table.volumes["PV", "2026-11"][row]),
            note=notes[row],
        )
        for row in range(len(table))
    }


def _check(path: Path, text: str, limits: ImportLimits) -> None:
    expected = read_naively(text, by_row=path.suffix == ".parquet")
    if expected.wrong:
        with pytest.raises(ImportRefusedError) as refused:
            read_import(path, limits=limits)
        assert [(row.line, row.column) for row in refused.value.refusal.rejected_rows] == expected.wrong
        assert refused.value.refusal.rejected_count == len(expected.wrong)
    else:
        assert _as_members(read_import(path, limits=limits)) == expected.members


@given(_files(), st.integers(16, 400), st.sampled_from([b"", b"\xef\xbb\xbf"]), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_csv_as_the_plain_reader_reads_it(
    tmp_path: Path, text: str, block_bytes: int, mark: bytes, packed: bool
) -> None:
    content = mark + text.encode()
    path = tmp_path / ("import.csv.gz" if packed else "import.csv")
    path.write_bytes(gzip.compress(content) if packed else content)
    _check(path, text, ImportLimits(block_bytes=block_bytes))


@given(_files())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parquet_as_the_plain_reader_reads_csv(tmp_path: Path, text: str) -> None:
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    columns = {name: pa.array([row[place] or None for row in rows], pa.string()) for place, name in enumerate(header)}
    path = tmp_path / "import.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=5)
    _check(path, text, ImportLimits())


@given(_files(), st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_are_read_or_refused_but_nothing_else(tmp_path: Path, text: str, data: st.DataObject) -> None:
    content = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(content)))
        content[begin : begin + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b",", b"\n", b"\r", b"\0"])
        )
    path = tmp_path / "import.csv"
    path.write_bytes(content)
    with suppress(ImportRefusedError):
        assert len(read_import(path, limits=ImportLimits(block_bytes=64))) >= 1
