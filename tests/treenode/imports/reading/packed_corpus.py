"""Malformed import files that are packed, too large, or Parquet."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.treenode.imports.reading import ImportLimits
from tests.shared.packing.archives import unopenable, zipped, zstd
from tests.treenode.imports.reading.bad_file import GOOD, HEADER, BadFile, bad, csv_file, spoilt, spoilt_wide


def packed_files() -> Iterator[BadFile]:
    yield from _gzip()
    yield from _zip_and_zstd()
    yield from _over_limits()
    yield from _parquet()
    yield from _parquet_values()


def _gzip() -> Iterator[BadFile]:
    packed = gzip.compress(csv_file(*GOOD, *(f"x{number},100,A,1,,1" for number in range(20_000))), 6)
    gz: dict[str, Any] = {"suffix": ".csv.gz"}
    yield bad("gzip cut in half", packed[: len(packed) // 2], (0, "", "ends early"), **gz)
    yield bad("gzip without its last byte", packed[:-1], (0, "", "ends early"), **gz)
    yield bad("gzip header alone", packed[:10], (0, "", "ends early"), **gz)
    yield bad("gzip of nothing", gzip.compress(b""), (0, "", "no line"), **gz)
    middle = len(packed) // 2
    damaged = packed[:middle] + bytes(255 - byte for byte in packed[middle : middle + 8]) + packed[middle + 8 :]
    yield bad("gzip damaged", damaged, (0, "", "damaged"), **gz)
    checksum = packed[:-8] + bytes(255 - byte for byte in packed[-8:-4]) + packed[-4:]
    yield bad("gzip with a wrong checksum", checksum, (0, "", "damaged"), **gz)
    yield bad("gzip with garbage behind", packed + b"garbage", (0, "", "damaged"), **gz)
    yield bad("gzip in gzip", gzip.compress(packed), (1, "", "not text"), **gz)
    yield bad("bad row in gzip", gzip.compress(spoilt(5, "103,101,A,3,,x")), (5, "pv", "not a decimal"), **gz)


def _zip_and_zstd() -> Iterator[BadFile]:
    text = csv_file(*GOOD, *(f"x{number},100,A,1,,1" for number in range(20_000)))
    for each in unopenable(text):
        yield bad(each.name, each.content, (0, "", each.words))
    yield bad("zip named .gz", zipped(("a.csv", text)), (0, "", "should be gzipped CSV"), suffix=".csv.gz")
    yield bad("zip named .parquet", zipped(("a.csv", text)), (0, "", "should be Parquet"), suffix=".parquet")
    for pack, suffix in ((lambda part: zipped(("a.csv", part)), ".zip"), (zstd, ".csv.zst")):
        yield bad(f"bad row in {suffix}", pack(spoilt(5, "103,101,A,3,,x")), (5, "pv", "not a decimal"), suffix=suffix)
        yield bad(f"nothing in {suffix}", pack(b""), (0, "", "no line"), suffix=suffix)
        yield bad(f"no text in {suffix}", pack(bytes(range(256)) * 8), (1, "", "not text"), suffix=suffix)
        bomb = pack(csv_file(*GOOD) + b"1,1,A,1,,1\n" * (8 << 20))
        limits = ImportLimits(unpack_free_bytes=1 << 20)
        yield bad(f"bomb in {suffix}", bomb, (0, "", "taken for a bomb"), suffix=suffix, limits=limits)


def _zeros(size_bytes: int, start: bytes, fill: bytes) -> bytes:
    """A gzip file of `start`, then `fill` again and again, made without holding it unpacked."""
    packer = zlib.compressobj(9, wbits=31)
    piece = fill * ((1 << 20) // len(fill))
    parts = [packer.compress(start)]
    parts += [packer.compress(piece) for _ in range(size_bytes // len(piece))]
    return b"".join([*parts, packer.flush()])


def _over_limits() -> Iterator[BadFile]:
    head = csv_file(*GOOD)
    gz: dict[str, Any] = {"suffix": ".csv.gz"}
    yield bad("bomb of one line", _zeros(300 << 20, head, b"x"), (8, "", "longer than 1,048,576 bytes"), **gz)
    yield bad("bomb of rows", _zeros(300 << 20, head, b"1,1,A,1,,1\n"), (0, "", "taken for a bomb"), **gz)
    yield bad("bomb of line ends", _zeros(300 << 20, head, b"\n"), (8, "", "empty lines"), **gz)
    hopeless = csv_file(*GOOD, *("x" for _ in range(60)))
    told_hopeless = ((line, "", "fewer fields") for line in range(8, 68))
    yield bad("hopeless", hopeless, *told_hopeless, limits=ImportLimits(checked_wrong_rows=20, block_bytes=60))
    small = ImportLimits(unpacked_bytes=4 << 20)
    more_lines = _zeros(5 << 20, head, b"1,1,A,1,,1\n")
    yield bad("more than may be unpacked", more_lines, (0, "", "unpacks to more than the limit"), limits=small, **gz)
    yield bad("file too large", head, (0, "", "more than the limit of 100"), limits=ImportLimits(file_bytes=100))
    yield bad("too many rows", head, (0, "", "limit of 5 members"), limits=ImportLimits(rows=5))
    yield bad("too many columns", csv_file("1", header=HEADER + "".join(f",c{n}" for n in range(251))),
               (1, "", "257 columns"))  # fmt: skip
    huge = "x" * 2_000
    yield bad("huge field", spoilt_wide(4, f"102,100,100,R,C,C,0,,0.00,{huge}"), (4, "note", "longer than 1024 bytes"))
    yield bad("huge quoted field", spoilt(4, f'102,100,"{huge}",0,,0'), (4, "status", "longer than 1024 bytes"))
    endless = spoilt(4, "x" * 3_000_000)
    yield bad("endless line", endless, (4, "", "longer than 1,048,576 bytes"))
    statuses = csv_file(*(f"m{number},,S{number},1,,1" for number in range(20)))
    few = ImportLimits(statuses=8)
    told = ((line, "status", "8 different") for line in range(10, 22))
    yield bad("too many statuses", statuses, *told, limits=few)


def _parquet_bytes(columns: dict[str, Any], **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, **options)
    return bytes(sink.getvalue())


def _parquet_columns(**changes: Any) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "member_id": ["100", "101", "102", "103"],
        "sponsor_id": [None, "100", "100", "101"],
        "status": ["A", "A", "C", "A"],
        "rank": [5, 4, 0, 3],
        "joined_on": ["2020-01-31", None, "2024-02-29", ""],
        "pv": ["10.00", "20.50", "0.00", "-5.25"],
    }
    return columns | changes


def _parquet() -> Iterator[BadFile]:
    good = _parquet_bytes(_parquet_columns())
    parquet: dict[str, Any] = {"suffix": ".parquet"}
    yield bad("Parquet cut in half", good[: len(good) // 2], (0, "", "damaged or was cut off"), **parquet)
    yield bad("Parquet without its last byte", good[:-1], (0, "", "damaged or was cut off"), **parquet)
    yield bad("Parquet magic alone", b"PAR1", (0, "", "damaged or was cut off"), **parquet)
    pages = good[:4] + bytes(255 - byte for byte in good[4:60]) + good[60:]
    yield bad("Parquet pages damaged", pages, (0, "", "damaged or was cut off"), **parquet)
    no_rows = _parquet_bytes({name: pa.array([], pa.string()) for name in _parquet_columns()})
    yield bad("Parquet without rows", no_rows, (0, "", "no members"), **parquet)
    without = _parquet_columns()
    del without["sponsor_id"]
    yield bad("Parquet without sponsor_id", _parquet_bytes(without), (1, "sponsor_id", "missing"), **parquet)
    nested = _parquet_columns(status=[["A"], ["A"], ["C"], []])
    yield bad("Parquet with lists", _parquet_bytes(nested), (0, "status", "flatten"), **parquet)
    few = ImportLimits(rows=3)
    yield bad("Parquet with too many rows", good, (0, "", "limit of 3"), limits=few, **parquet)
    long = "x" * (1 << 20)
    rows = 65_536
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([long]))
    bomb = {
        "member_id": [str(number) for number in range(rows)],
        "sponsor_id": pa.nulls(rows, pa.string()),
        "status": repeated,
        "rank": [0] * rows,
        "joined_on": pa.nulls(rows, pa.string()),
        "pv": [0] * rows,
    }
    told = ((line, "status", "longer than 16") for line in range(2, 102))
    yield bad("Parquet bomb of one long text", _parquet_bytes(bomb), *told, count=rows, **parquet)


def _parquet_values() -> Iterator[BadFile]:
    cases: dict[str, tuple[Callable[[], dict[str, Any]], tuple[int, str, str]]] = {
        "null id": (lambda: _parquet_columns(member_id=["100", None, "102", "103"]), (3, "member_id", "empty")),
        "id twice": (lambda: _parquet_columns(member_id=["100", "101", "102", "101"]), (5, "member_id", "line 3")),
        "orphan": (lambda: _parquet_columns(sponsor_id=[None, "100", "9", "101"]), (4, "sponsor_id", "not in")),
        "cycle": (lambda: _parquet_columns(sponsor_id=[None, "100", "102", "101"]), (4, "sponsor_id", "own upline")),
        "float": (lambda: _parquet_columns(pv=[1.0, 2.5, 0.1 + 0.2, 3.0]), (4, "pv", "more than two")),
        "not a number": (lambda: _parquet_columns(pv=[1.0, float("nan"), 1.0, 3.0]), (3, "pv", "not a decimal")),
        "large float": (lambda: _parquet_columns(pv=[1.0, 2.0, 1e30, 3.0]), (4, "pv", "out of range")),
        "id with a fraction": (lambda: _parquet_columns(member_id=[1.0, 2.0, 3.5, 4.0]), (0, "member_id", "no ids")),
        "id beyond what is exact": (
            lambda: _parquet_columns(member_id=[1.0, 2.0, 3.0, 1e16]),
            (0, "member_id", "no ids"),
        ),
        "decimal id": (
            lambda: _parquet_columns(sponsor_id=pa.array([None, Decimal("1.50"), None, None], pa.decimal128(9, 2))),
            (0, "sponsor_id", "no ids"),
        ),
        "seven places": (lambda: _parquet_columns(ratio=[1.5, 1e-7, 0.25, 1.0]), (3, "ratio", "6 decimal places")),
        "rank": (lambda: _parquet_columns(rank=[1, 2, 3, 40_000]), (5, "rank", "out of range")),
        "time of day": (
            lambda: _parquet_columns(joined_on=pa.array([0, 86_400, 86_401, None], pa.timestamp("s"))),
            (4, "joined_on", "not a day"),
        ),
        "bytes that are no text": (
            lambda: _parquet_columns(note=pa.array([b"a", b"b", b"\xff\xfe", None])),
            (4, "note", "UTF-8"),
        ),
    }
    for name, (columns, told) in cases.items():
        yield bad(f"Parquet: {name}", _parquet_bytes(columns()), told, suffix=".parquet")
