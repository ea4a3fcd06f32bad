"""What good files hold comes out as it stands in them."""

from __future__ import annotations

import gzip
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.engine.genealogy import as_table, make_genealogy, write_genealogy
from services.shared.domain.limits import NO_DAY, NO_NUMBER
from services.treenode.imports.reading import FileFormat, ImportLimits, ImportRefusedError, assembly, read_import
from services.treenode.tree.columns.text_hash import CHUNK_BYTES
from services.treenode.tree.table import FurtherColumn, ImportTable
from tests.shared.packing.archives import zipped, zstd
from tests.treenode.imports.reading.bad_file import GOOD, HEADER, WIDE_GOOD, WIDE_HEADER
from tests.treenode.tree.reads import texts_of


def _read(folder: Path, text: str, **options: object) -> ImportTable:
    path = folder / "import.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return read_import(path, **options)  # type: ignore[arg-type]


def _texts(column: FurtherColumn) -> list[str]:
    return texts_of(column)


def _good(header: str = HEADER, lines: tuple[str, ...] = GOOD, end: str = "\n") -> str:
    return end.join((header, *lines, ""))


def test_every_column(tmp_path: Path) -> None:
    table = _read(tmp_path, _good(WIDE_HEADER, WIDE_GOOD))
    assert table.member_ids.tolist() == [b"100", b"101", b"102", b"103", b"104", b"105"]
    assert table.sponsor.tolist() == [-1, 0, 0, 1, 3, -1]
    assert table.placement.tolist() == [-1, 0, 0, 1, 1, -1]
    assert table.placement_leg.tolist() == [0, 1, 2, 1, 2, 0]
    assert table.kind.tolist() == [1, 1, 2, 1, 2, 1]
    assert [table.status_names[code] for code in table.status] == ["A", "A", "C", "A", "C", "A"]
    assert table.rank.tolist() == [5, 4, 0, 3, 0, 12]
    days = [None if day == NO_DAY else str(np.datetime64(int(day), "D")) for day in table.joined_on]
    assert days == ["2020-01-31", "2021-02-28", "2024-02-29", None, "2026-11-01", "2000-02-29"]
    assert table.volumes["PV", "2026-11"].tolist() == [1000, 2050, 0, -525, 700, 10]
    assert _texts(table.further["note"]) == ["first", "", "", "", "", "last"]


def test_a_leg_of_0_is_none_as_reports_write_it(tmp_path: Path) -> None:
    lines = [line.replace("100,,,,distributor", "100,,,0,distributor") for line in WIDE_GOOD]
    table = _read(tmp_path, _good(WIDE_HEADER, tuple(lines)))
    assert table.placement_leg.tolist() == [0, 1, 2, 1, 2, 0]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n", "\r\n\r\n", None])
def test_line_ends(tmp_path: Path, end: str, last: str | None) -> None:
    text = _good(end=end)
    assert len(_read(tmp_path, text.rstrip() if last is None else text + last)) == len(GOOD)


def test_quotes_commas_and_letters(tmp_path: Path) -> None:
    text = _good(HEADER + ",note", ('"a,""b""",,"A",5,"2020-01-31","1.5","Zoë, ""x"" 東京"', 'c,"a,""b""",A,,,,'))
    table = _read(tmp_path, text)
    assert table.member_ids.tolist() == [b'a,"b"', b"c"]
    assert table.sponsor.tolist() == [-1, 0]
    assert _texts(table.further["note"]) == ['Zoë, "x" 東京', ""]


def test_header_in_capitals_and_derived_columns(tmp_path: Path) -> None:
    table = _read(tmp_path, "MEMBER_ID,Sponsor_ID,level,Status,Rank,Joined_On,PV,gv,downline_count\na,,0,A,1,,2,9,0\n")
    assert table.further == {}
    assert table.volumes["PV", "2026-11"].tolist() == [200]


def test_volumes_by_type_and_period(tmp_path: Path) -> None:
    header = "member_id,sponsor_id,status,rank,joined_on,cv,pv:2026-10,CV:2026-10,qv:2026-09"
    text = _good(header, ("a,,A,1,,1,2,3,4", "b,a,A,1,,-1,,0.5,9"))
    table = _read(tmp_path, text, volume_types=("PV", "CV"), periods=("2026-11", "2026-10"))
    assert {key: values.tolist() for key, values in table.volumes.items()} == {
        ("CV", "2026-11"): [100, -100],
        ("PV", "2026-10"): [200, 0],
        ("CV", "2026-10"): [300, 50],
        ("QV", "2026-09"): [400, 900],
    }


def test_pv_is_the_first_volume_type_where_none_is_called_so(tmp_path: Path) -> None:
    text = _good(HEADER + ",pv:2026-10", ("a,,A,1,,1,2",))
    first = _read(tmp_path, text, volume_types=("BV", "CV"), periods=("2026-11",))
    assert {key: values.tolist() for key, values in first.volumes.items()} == {
        ("BV", "2026-11"): [100],
        ("BV", "2026-10"): [200],
    }
    named = _read(tmp_path, text, volume_types=("BV", "PV"), periods=("2026-11",))
    assert list(named.volumes) == [("PV", "2026-11"), ("PV", "2026-10")]
    assert list(named.further) == list(first.further) == []


@pytest.mark.parametrize(
    ("column", "words"),
    [("gv", "volume type GV, or what FastTree works out"), ("level:2026-11", "level"), ("STATUS:2026-11", "STATUS")],
)
def test_a_volume_type_named_like_a_column_is_not_read_over(tmp_path: Path, column: str, words: str) -> None:
    with pytest.raises(ImportRefusedError) as refused:
        _read(tmp_path, _good(f"{HEADER},{column}", ("a,,A,1,,1,2",)), volume_types=("PV", "GV"))
    (row,) = refused.value.refusal.rejected_rows
    assert (row.line, row.column) == (1, column)
    assert words in row.reason
    # Of a log that has such a type, it is read where its period says so.
    text = _good(f"{HEADER},gv:2026-11", ("a,,A,1,,1,2",))
    assert _read(tmp_path, text, volume_types=("PV", "GV")).volumes["GV", "2026-11"].tolist() == [200]


def test_further_columns_are_what_the_header_declares_and_else_texts_to_the_letter(tmp_path: Path) -> None:
    header = HEADER + ",points:integer,zip,rate:Decimal,since : date,digits,a:b:text,empty"
    lines = (
        "a,,A,1,,1,5,02134,1.5,2026-01-31,1,x,",
        "b,a,A,1,,1,-012,1,3,,2,2026-01-01,",
        "c,a,A,1,,1,, 12 ,-0.25,1969-12-31,3,,",
    )
    further = _read(tmp_path, _good(header, lines), limits=ImportLimits(block_bytes=40)).further
    kinds = {name: column.kind for name, column in further.items()}
    assert kinds == {
        "points": "integer",
        "zip": "text",
        "rate": "decimal",
        "since": "date",
        "digits": "text",
        "a:b": "text",
        "empty": "text",
    }
    assert further["points"].values.tolist() == [5, -12, NO_NUMBER]
    assert further["rate"].values.tolist() == [1_500_000, 3_000_000, -250_000]
    assert further["since"].values.tolist() == [20_484, NO_DAY, -1]
    assert _texts(further["zip"]) == ["02134", "1", " 12 "]
    assert _texts(further["digits"]) == ["1", "2", "3"]
    assert _texts(further["a:b"]) == ["x", "2026-01-01", ""]
    assert _texts(further["empty"]) == ["", "", ""]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("block_bytes", [16, 100, 1 << 20])
def test_line_breaks_in_quotes_are_data(tmp_path: Path, end: str, block_bytes: int) -> None:
    notes = ["one\ntwo", "\n", "\r\n\r\n", "a\tb", 'say ""hi""\nand go', ",\n,", "x" * 1023 + "\n", "last\n\n"]
    lines = [f'm{place},,A,1,,1,"{note}"' for place, note in enumerate(notes)]
    for last in (end, ""):
        path = tmp_path / "import.csv"
        text = end.join([HEADER + ",note", *lines]) + last
        path.write_text(text, encoding="utf-8", newline="")
        table = read_import(path, limits=ImportLimits(block_bytes=block_bytes))
        assert _texts(table.further["note"]) == [note.replace('""', '"') for note in notes]


def test_limits_of_ids_numbers_and_days(tmp_path: Path) -> None:
    widest, punctuation = "w" * 32, "!~ ~!"
    lines = (
        f"{widest},,1234567890123456,32767,0001-01-01,92233720368547758.07",
        f"{punctuation},{widest},,0,9999-12-31,-0.00",
    )
    table = _read(tmp_path, _good(lines=lines))
    assert table.member_ids.tolist() == [widest.encode(), punctuation.encode()]
    assert table.sponsor.tolist() == [-1, 0]
    assert table.volumes["PV", "2026-11"].tolist() == [2**63 - 1, 0]
    days = [str(np.datetime64(int(day), "D")) for day in table.joined_on]
    assert days == ["0001-01-01", "9999-12-31"]


def test_gzip_in_members_and_padded(tmp_path: Path) -> None:
    text = _good().encode()
    path = tmp_path / "import"
    path.write_bytes(gzip.compress(text[:50]) + gzip.compress(text[50:]) + bytes(512))
    assert len(read_import(path, FileFormat.CSV_GZIP)) == len(GOOD)


@pytest.mark.parametrize("suffix", [".zip", ".csv.zst", ".csv", ""])
def test_zip_and_zstd_by_their_first_bytes_whatever_the_name(suffix: str, tmp_path: Path) -> None:
    text = _good()
    path = tmp_path / f"packed{suffix}"
    for content in (zipped(("members.csv", text.encode())), zstd(text.encode())):
        path.write_bytes(content)
        assert read_import(path).member_ids.tolist() == _read(tmp_path, text).member_ids.tolist()


def test_packs_that_hold_next_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "import.csv.gz"
    whole, nothing, byte = gzip.compress(_good().encode()), gzip.compress(b""), gzip.compress(b"\n")
    path.write_bytes(whole + nothing * 900)
    assert len(read_import(path)) == len(GOOD)
    for packs in (nothing * 2_000, byte * 2_000):
        path.write_bytes(packs + whole)
        with pytest.raises(ImportRefusedError, match="gzip packs that hold next to nothing"):
            read_import(path)


def test_a_chain_of_a_hundred_thousand(tmp_path: Path) -> None:
    lines = (f"m{number},{f'm{number - 1}' if number else ''},A,0,,1" for number in range(100_000))
    table = _read(tmp_path, _good(lines=tuple(lines)))
    assert table.sponsor.tolist() == list(range(-1, 99_999))


def test_parquet_of_typed_columns(tmp_path: Path) -> None:
    path = tmp_path / "import"
    table = pa.table(
        {
            "member_id": pa.array([100, 101, 102], pa.int64()),
            "sponsor_id": pa.array([None, 100.0, 100.0], pa.float64()),
            "status": pa.array(["A", None, "A"]).dictionary_encode(),
            "rank": pa.array([5.0, None, 3.0]),
            "joined_on": pa.array([0, None, 86_400_000], pa.timestamp("ms")),
            "pv": pa.array([1.25, None, -3.0]),
            "cv:2026-10": pa.array([1_500_000, 0, None], pa.int64())
            .cast(pa.decimal128(19, 0))
            .cast(pa.decimal128(25, 6)),
            "vip": pa.array([True, False, None]),
        }
    )
    pq.write_table(table, path)
    read = read_import(path)
    assert read.member_ids.tolist() == [b"100", b"101", b"102"]
    assert read.sponsor.tolist() == [-1, 0, 0]
    assert [read.status_names[code] for code in read.status] == ["A", "", "A"]
    assert read.rank.tolist() == [5, 0, 3]
    assert read.joined_on.tolist() == [0, NO_DAY, 1]
    assert read.volumes["PV", "2026-11"].tolist() == [125, 0, -300]
    assert read.volumes["CV", "2026-10"].tolist() == [150_000_000, 0, 0]
    assert _texts(read.further["vip"]) == ["true", "false", ""]


@pytest.mark.parametrize("as_int96", [False, True])
def test_days_of_any_year_come_as_parquets_timestamps(as_int96: bool, tmp_path: Path) -> None:
    """INT96 is what older versions of Spark, Hive and Impala write."""
    days = [date(1, 1, 1), date(1600, 2, 29), date(2026, 11, 30), date(9999, 12, 31)]
    table = pa.table(
        {
            "member_id": ["A", "B", "C", "D"],
            "sponsor_id": [""] * 4,
            "status": ["A"] * 4,
            "rank": [0] * 4,
            "joined_on": pa.array([datetime(day.year, day.month, day.day) for day in days], pa.timestamp("us")),
            "pv": [0] * 4,
        }
    )
    pq.write_table(table, tmp_path / "import", use_deprecated_int96_timestamps=as_int96)
    assert read_import(tmp_path / "import").joined_on.tolist() == [(day - date(1970, 1, 1)).days for day in days]


def test_parquets_own_types_declare_further_columns(tmp_path: Path) -> None:
    path = tmp_path / "import"
    table = pa.table(
        {
            "member_id": pa.array([123_000_000_000_000.0, 10126.0]),
            "sponsor_id": pa.array([None, 123_000_000_000_000], pa.int64()).cast(pa.decimal128(38, 2)),
            "status": ["A", "A"],
            "rank": [0, 0],
            "joined_on": pa.nulls(2, pa.string()),
            "pv": pa.array([Decimal(0), Decimal(1)], pa.decimal128(38, 18)),
            "zip": ["02134", "123"],
            "points": pa.array([7, None], pa.uint8()),
            "ratio": pa.array([0.5, 1e12]),
            "tiny": pa.array([Decimal("0.000001"), Decimal(0)], pa.decimal128(38, 18)),
            "since": pa.array([1, None], pa.date32()),
            "seen": pa.array([0, 86_400_001], pa.timestamp("ms")),
            "renewed:date": ["2026-01-31", None],
        }
    )
    pq.write_table(table, path)
    read = read_import(path)
    assert read.member_ids.tolist() == [b"123000000000000", b"10126"]
    assert read.sponsor.tolist() == [-1, 0]
    assert read.volumes["PV", "2026-11"].tolist() == [0, 100]
    further = read.further
    assert _texts(further["zip"]) == ["02134", "123"]
    assert (further["points"].kind, further["points"].values.tolist()) == ("integer", [7, NO_NUMBER])
    assert (further["ratio"].kind, further["ratio"].values.tolist()) == ("decimal", [500_000, 10**18])
    assert (further["tiny"].kind, further["tiny"].values.tolist()) == ("decimal", [1, 0])
    assert (further["since"].kind, further["since"].values.tolist()) == ("date", [1, NO_DAY])
    assert _texts(further["seen"]) == ["1970-01-01", "1970-01-02 00:00:00.001"]
    assert (further["renewed"].kind, further["renewed"].values.tolist()) == ("date", [20_484, NO_DAY])


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
@pytest.mark.parametrize("deep", [False, True])
def test_a_generated_genealogy_comes_back(tmp_path: Path, suffix: str, deep: bool) -> None:
    genealogy = make_genealogy(20_000, seed=7, deep=deep, placement=True, volumes=("pv", "cv:2026-10"), further=True)
    path = tmp_path / f"import{suffix}"
    write_genealogy(genealogy, path)
    table = read_import(path, limits=ImportLimits(block_bytes=10_000))
    assert table.member_ids.tolist() == genealogy.ids.tolist()
    assert genealogy.placement is not None
    assert genealogy.placement_leg is not None
    for read, made in (
        (table.sponsor, genealogy.sponsor),
        (table.placement, genealogy.placement),
        (table.placement_leg, genealogy.placement_leg),
        (table.rank, genealogy.rank),
        (table.joined_on, genealogy.joined_on),
        (table.volumes["PV", "2026-11"], genealogy.volumes["pv"]),
        (table.volumes["CV", "2026-10"], genealogy.volumes["cv:2026-10"]),
    ):
        assert np.array_equal(read, made)
    assert _texts(table.further["country"]) == as_table(genealogy)["country"].to_pylist()
    kinds = {name: column.kind for name, column in table.further.items()}
    assert kinds == {"country": "text", "loyalty_points": "integer", "bonus_rate": "decimal", "renewed_on": "date"}


@pytest.mark.parametrize("piece_bytes", [CHUNK_BYTES, 2 * CHUNK_BYTES])
def test_texts_of_many_pieces_come_back(tmp_path: Path, piece_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in threads, into pieces of the table's memory that are filled and left one after another."""
    monkeypatch.setattr(assembly, "_PIECE_BYTES", piece_bytes)
    notes = [f"{number} {'é' if number % 9 else ''}{'x' * (number % 1_000)}" for number in range(6_000)]
    lines = tuple(f"m{number},,A,1,,1,{note},{number}" for number, note in enumerate(notes))
    further = _read(tmp_path, _good(HEADER + ",note,number", lines), limits=ImportLimits(block_bytes=50_000)).further
    assert _texts(further["note"]) == notes
    assert _texts(further["number"]) == [str(number) for number in range(6_000)]
    assert [len(further[name].texts) for name in ("note", "number")] == [3 if piece_bytes == CHUNK_BYTES else 2, 1]
    assert sum(map(len, further["note"].texts)) == len("".join(notes).encode())


def test_progress_goes_up_and_may_end_the_reading(tmp_path: Path) -> None:
    told: list[float] = []
    limits = ImportLimits(block_bytes=64)
    _read(tmp_path, _good(), limits=limits, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 3

    def stop(share: float) -> None:
        raise InterruptedError("not wanted any more")

    with pytest.raises(InterruptedError):
        _read(tmp_path, _good(), limits=limits, progress=stop)


def test_fewer_columns_may_be_required(tmp_path: Path) -> None:
    text = "member_id,sponsor_id\na,\nb,a\n"
    with pytest.raises(ImportRefusedError, match="3 more faults in the header"):
        _read(tmp_path, text)
    table = _read(tmp_path, text, limits=ImportLimits(required_columns=()))
    assert table.sponsor.tolist() == [-1, 0]
    assert table.volumes == {}
    assert table.joined_on.tolist() == [NO_DAY, NO_DAY]


def test_what_the_log_declares_goes_before_what_a_file_leaves_open(tmp_path: Path) -> None:
    declared = {"Points": "integer", "renewal": "date", "a:b": "text", "unused": "decimal"}
    header = f"{HEADER},points,renewal:date,A:B,zip"
    lines = tuple(f"{line},{number},2026-12-31,x,0213{number}" for number, line in enumerate(GOOD))
    table = _read(tmp_path, _good(header, lines), declared=declared)
    kinds = {name: column.kind for name, column in table.further.items() if name in (*declared, "zip", "points")}
    # By the name that the log has, whatever the file's case.
    assert kinds == {"Points": "integer", "renewal": "date", "a:b": "text", "zip": "text"}
    assert table.further["Points"].values.tolist() == list(range(len(GOOD)))


def test_a_header_that_says_another_type_than_the_log_is_refused(tmp_path: Path) -> None:
    lines = tuple(f"{line},1" for line in GOOD)
    with pytest.raises(ImportRefusedError) as refused:
        _read(tmp_path, _good(f"{HEADER},points:text", lines), declared={"points": "integer"})
    (row,) = refused.value.refusal.rejected_rows
    assert (row.line, row.column) == (1, "points")
    assert row.reason == "it is declared as integer (`fasttree column list`), not text: write points alone"


def test_the_log_s_type_goes_before_a_parquet_file_s_own(tmp_path: Path) -> None:
    columns = dict(zip(HEADER.split(","), zip(*(line.split(",") for line in GOOD), strict=True), strict=True))
    table = pa.table({**columns, "zip": pa.array([int(f"100{number}") for number in range(len(GOOD))])})
    pq.write_table(table, tmp_path / "import.parquet")
    read = read_import(tmp_path / "import.parquet", declared={"zip": "text"})
    assert _texts(read.further["zip"])[0] == "1000"
