"""Malformed import files, made by code, each with what must be said about it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.treenode.importing import ImportLimits

HEADER = "member_id,sponsor_id,status,rank,joined_on,pv"
WIDE_HEADER = "member_id,sponsor_id,placement_id,placement_leg,kind,status,rank,joined_on,pv,note"
#: Good members, on lines 2 to 7.
GOOD = (
    "100,,A,5,2020-01-31,10.00",
    "101,100,A,4,2021-02-28,20.50",
    "102,100,C,0,2024-02-29,0.00",
    "103,101,A,3,,-5.25",
    "104,103,C,0,2026-11-01,7",
    "105,,A,12,2000-02-29,0.1",
)
WIDE_GOOD = (
    "100,,,,distributor,A,5,2020-01-31,10.00,first",
    "101,100,100,L,D,A,4,2021-02-28,20.50,",
    "102,100,100,R,customer,C,0,2024-02-29,0.00,",
    "103,101,101,1,,A,3,,-5.25,",
    "104,103,101,2,c,C,0,2026-11-01,7,",
    "105,,,,,A,12,2000-02-29,0.1,last",
)


@dataclass(frozen=True)
class Told:
    """What must be told of a row: its line, its column, and words of the reason."""

    line: int
    column: str
    words: str


@dataclass(frozen=True)
class BadFile:
    """A file that must be refused."""

    name: str
    content: bytes
    told: tuple[Told, ...]
    #: All rejected rows; as many as are told unless they are more.
    count: int
    suffix: str = ".csv"
    limits: ImportLimits | None = None

    def write(self, folder: Path) -> Path:
        """Writes it."""
        path = folder / f"import{self.suffix}"
        path.write_bytes(self.content)
        return path


def _csv(*lines: str, header: str = HEADER) -> bytes:
    return "\n".join((header, *lines, "")).encode()


def _with(line: int, text: str) -> bytes:
    """The good members, another text on one line."""
    return _csv(*(text if place == line else good for place, good in enumerate(GOOD, start=2)))


def _wide(line: int, text: str) -> bytes:
    return _csv(*(text if place == line else good for place, good in enumerate(WIDE_GOOD, start=2)), header=WIDE_HEADER)


def _bad(name: str, content: bytes, *told: tuple[int, str, str], count: int = 0, **more: Any) -> BadFile:
    return BadFile(name, content, tuple(Told(*each) for each in told), count or len(told), **more)


def bad_files() -> Iterator[BadFile]:
    """The whole corpus."""
    yield from _whole_files()
    yield from _encodings()
    yield from _headers()
    yield from _lines()
    yield from _ids()
    yield from _values()
    yield from _wide_values()
    yield from _links()
    yield from _cycles()
    yield from _placements()
    yield from _gzip()
    yield from _over_limits()
    yield from _parquet()
    yield from _parquet_values()


def _whole_files() -> Iterator[BadFile]:
    yield _bad("empty file", b"", (0, "", "empty"))
    yield _bad("only line ends", b"\n\r\n\n", (0, "", "no line"))
    yield _bad("only a byte order mark", b"\xef\xbb\xbf", (0, "", "no line"))
    yield _bad("header alone", _csv(), (0, "", "no members"))
    yield _bad("header without a line end", HEADER.encode(), (0, "", "no members"))
    yield _bad("zip", b"PK\x03\x04" + bytes(60), (0, "", "zip file"))
    yield _bad("zstd", b"\x28\xb5\x2f\xfd" + bytes(60), (0, "", "zstd"))
    yield _bad("office document", b"\xd0\xcf\x11\xe0" + bytes(60), (0, "", "office"))
    yield _bad("binary", bytes(range(256)) * 8, (1, "", "not text"))
    yield _bad("plain text named .gz", _csv(*GOOD), (0, "", "gzipped CSV"), suffix=".csv.gz")
    yield _bad("plain text named .parquet", _csv(*GOOD), (0, "", "Parquet"), suffix=".parquet")


def _encodings() -> Iterator[BadFile]:
    yield _bad("UTF-16, little end", b"\xff\xfe" + _csv(*GOOD).decode().encode("utf-16-le"),
               (1, "", "UTF-16"))  # fmt: skip
    yield _bad("UTF-16, big end", b"\xfe\xff" + _csv(*GOOD).decode().encode("utf-16-be"), (1, "", "UTF-16"))
    yield _bad("header in Latin-1", _csv(*GOOD).replace(b"status", b"st\xe4tus"), (1, "", "UTF-8"))
    yield _bad("id in Latin-1", _csv(*GOOD).replace(b"\n103,", b"\n10\xe9,"), (5, "member_id", "printable ASCII"))
    yield _bad("id in UTF-8", _with(5, "10é,101,A,3,,-5.25"), (5, "member_id", "printable ASCII"))
    latin = _wide(4, "102,100,100,R,C,C,0,2024-02-29,0.00,caf?").replace(b"?", b"\xe9")
    yield _bad("text in Latin-1", latin, (4, "note", "UTF-8"))
    cut = _wide(4, "102,100,100,R,C,C,0,2024-02-29,0.00,?").replace(b"?", b"\xe2\x82")
    yield _bad("UTF-8 letter cut off", cut, (4, "note", "UTF-8"))
    overlong = _wide(4, "102,100,100,R,C,C,0,2024-02-29,0.00,?").replace(b"?", b"\xc0\xaf")
    yield _bad("UTF-8 overlong", overlong, (4, "note", "UTF-8"))
    surrogate = _wide(4, "102,100,100,R,C,C,0,2024-02-29,0.00,?").replace(b"?", b"\xed\xa0\x80")
    yield _bad("UTF-8 surrogate", surrogate, (4, "note", "UTF-8"))
    nul = _wide(4, "102,100,100,R,C,C,0,2024-02-29,0.00,a\0b")
    yield _bad("NUL in a text", nul, (4, "note", "control"))
    yield _bad("tab in an id", _with(6, "10\t4,103,C,0,2026-11-01,7"), (6, "member_id", "printable ASCII"))


def _headers() -> Iterator[BadFile]:
    for name in ("member_id", "sponsor_id", "status", "rank", "joined_on", "pv"):
        yield _bad(f"no {name}", _csv(*GOOD).replace(name.encode(), b"other"), (1, name, "missing"))
    yield _bad("two ranks", _csv("100,,A,5,,1,5", header=HEADER + ",Rank"), (1, "Rank", "already has"))
    twice = HEADER + ",pv:2026-11"
    yield _bad("pv twice, by its period", _csv("100,,A,5,,1,5", header=twice), (1, "pv:2026-11", "already has pv"))
    yield _bad("nameless column", _csv("100,,A,5,,1,5", header=HEADER + ","), (1, "", "no name"))
    yield _bad("no such month", _csv("100,,A,5,,1,5", header=HEADER + ",pv:2026-13"), (1, "pv:2026-13", "2026-11"))
    yield _bad("semicolons", _csv(*GOOD).replace(b",", b";"), (1, "member_id", "no comma"))
    yield _bad("tabs", _csv(*GOOD).replace(b",", b"\t"), (1, "member_id", "no comma"))
    yield _bad("open quote in the header", b'"' + _csv(*GOOD), (1, "", "quote in the header"))
    yield _bad("carriage returns alone", _csv(*GOOD).replace(b"\n", b"\r"), (1, "", "carriage return"))
    yield _bad("empty first line", b"\n" + _csv(*GOOD), (1, "", "header line is empty"))
    yield _bad("leg without placement", _csv("100,,A,5,,1,L", header=HEADER + ",placement_leg"),
               (1, "placement_leg", "placement_id"))  # fmt: skip


def _lines() -> Iterator[BadFile]:
    yield _bad("field missing", _with(5, "103,101,A,3,"), (5, "", "fewer fields than the header's 6"))
    yield _bad("field too many", _with(5, "103,101,A,3,,-5.25,x"), (5, "", "more fields than the header's 6"))
    yield _bad("comma in a text", _with(5, "103,101,A,3,,-5,25"), (5, "", "in quotes"))
    yield _bad("empty line", _with(5, ""), (5, "", "empty"))
    yield _bad("empty line, Windows", _with(5, "").replace(b"\n", b"\r\n"), (5, "", "empty"))
    yield _bad("open quote", _with(5, '103,101,"A,3,,-5.25'), (5, "status", "does not end"))
    yield _bad("quote opens the last field", _with(7, '105,,A,12,2000-02-29,"0.1'), (7, "pv", "does not end"))
    yield _bad("quote in a field", _with(5, '103,101,A"B,3,,-5.25'), (5, "status", "quote inside"))
    yield _bad("text after a quote", _with(5, '103,101,"A"B,3,,-5.25'), (5, "status", "after the closing quote"))
    broken = _with(5, '103,"10\n1",A,3,,-5.25')
    yield _bad(
        "line break in quotes",
        broken,
        (5, "sponsor_id", "does not end"),
        (6, "member_id", "quote inside"),
    )
    two = _with(3, '101,100,A"B,4,2021-02-28,20.50').replace(b",-5.25", b",x")
    yield _bad("two wrong rows", two, (3, "status", "quote inside"), (5, "pv", "not a decimal number"))
    yield _bad("binary zeros amid the file", _with(5, "\0" * 40), (5, "", "fewer fields"))
    yield _bad("last line cut off", _csv(*GOOD)[:-6], (7, "", "fewer fields"))


def _ids() -> Iterator[BadFile]:
    yield _bad("no id", _with(5, ",101,A,3,,-5.25"), (5, "member_id", "empty"))
    yield _bad("id of 33", _with(5, "1" * 33 + ",101,A,3,,-5.25"), (5, "member_id", "longer than 32"))
    yield _bad("sponsor of 33", _with(5, f"103,{'1' * 33},A,3,,-5.25"), (5, "sponsor_id", "longer than 32"))
    yield _bad("id begins with a space", _with(5, " 103,101,A,3,,-5.25"), (5, "member_id", "space"))
    yield _bad("id ends with a space", _with(5, "103 ,101,A,3,,-5.25"), (5, "member_id", "space"))
    yield _bad("sponsor ends with a space", _with(5, "103,101 ,A,3,,-5.25"), (5, "sponsor_id", "space"))
    yield _bad("id of a space", _with(5, " ,101,A,3,,-5.25"), (5, "member_id", "space"))
    yield _bad("delete character in an id", _with(5, "1\x7f3,101,A,3,,-5.25"), (5, "member_id", "printable ASCII"))
    yield _bad("id twice", _with(6, "102,103,C,0,2026-11-01,7"), (6, "member_id", '"102" is already on line 4'))
    thrice = _csv(*GOOD, GOOD[1], GOOD[1])
    yield _bad("id three times", thrice, (8, "member_id", "line 3"), (9, "member_id", "line 3"))
    yield _bad("every member twice", _csv(*GOOD, *GOOD), *((line, "member_id", f"on line {line - 6}")
               for line in range(8, 14)))  # fmt: skip
    many = _csv(*GOOD, *(f",100,A,0,,{number}" for number in range(300)))
    yield _bad("more than are told", many, (8, "member_id", "empty"), (9, "member_id", "empty"), count=300)


def _values() -> Iterator[BadFile]:
    for name, text, words in (
        ("three places", "1.234", "more than two"),
        ("three places, zeros", "1.000", "more than two"),
        ("comma decimal in quotes", '"1,5"', "not a decimal number"),
        ("thousands", '"1,000.00"', "not a decimal number"),
        ("plus sign", "+1.00", "not a decimal number"),
        ("exponent", "1e3", "not a decimal number"),
        ("not a number", "NaN", "not a decimal number"),
        ("infinity", "inf", "not a decimal number"),
        ("minus alone", "-", "not a decimal number"),
        ("no digits after the point", "1.", "not a decimal number"),
        ("no digits before the point", ".5", "not a decimal number"),
        ("two points", "1.2.3", "not a decimal number"),
        ("space before a number", " 1.00", "not a decimal number"),
        ("currency", "$1.00", "not a decimal number"),
        ("one hundredth too much", "92233720368547758.08", "out of range"),
        ("one hundredth too little", "-92233720368547758.08", "out of range"),
        ("number of 400 digits", "9" * 400, "out of range"),
        ("400 digits and a letter", "9" * 400 + "x", "not a decimal number"),
    ):
        yield _bad(f"pv: {name}", _with(5, f"103,101,A,3,,{text}"), (5, "pv", words))
    for name, text, words in (
        ("negative", "-1", "out of range"),
        ("too high", "32768", "out of range"),
        ("30 digits", "1" * 30, "out of range"),
        ("decimal", "1.5", "not a whole number"),
        ("text", "Gold", "not a whole number"),
    ):
        yield _bad(f"rank: {name}", _with(5, f"103,101,A,{text},,1"), (5, "rank", words))
    for name, text, words in (
        ("30 February", "2026-02-30", "calendar"),
        ("29 February of no leap year", "2100-02-29", "calendar"),
        ("month 13", "2026-13-01", "calendar"),
        ("day 0", "2026-01-00", "calendar"),
        ("year 0", "0000-01-01", "calendar"),
        ("slashes", "2026/01/31", "not a day"),
        ("American", "01/31/2026", "not a day"),
        ("with a time", "2026-01-31T00:00:00", "not a day"),
        ("short", "2026-1-31", "not a day"),
        ("letters", "2026-JA-31", "not a day"),
    ):
        yield _bad(f"joined_on: {name}", _with(5, f"103,101,A,3,{text},1"), (5, "joined_on", words))
    yield _bad("status of 17", _with(5, f"103,101,{'A' * 17},3,,1"), (5, "status", "longer than 16"))
    yield _bad("status in UTF-8", _with(5, "103,101,é,3,,1"), (5, "status", "printable ASCII"))
    most = "92233720368547758.07"
    yield _bad("sum of volumes", _with(5, f"103,101,A,3,,{most}"), (0, "pv", "sum of its volumes"))


def _wide_values() -> Iterator[BadFile]:
    for name, text, words in (
        ("letter", "X", "not a leg"),
        ("zero", "0", "out of range"),
        ("negative", "-1", "out of range"),
        ("too high", "2147483648", "out of range"),
        ("words", "left", "not a leg"),
    ):
        yield _bad(f"leg: {name}", _wide(5, f"103,101,101,{text},,A,3,,1,"), (5, "placement_leg", words))
    for text in ("X", "dist", "distributors", "1"):
        yield _bad(f"kind {text}", _wide(5, f"103,101,101,1,{text},A,3,,1,"), (5, "kind", "distributor or customer"))
    yield _bad("leg taken", _wide(6, "104,103,101,1,,C,0,,7,"), (6, "placement_leg", "line 5"))
    yield _bad("leg taken, L and 1", _wide(6, "104,103,101,L,,C,0,,7,"), (6, "placement_leg", "line 5"))
    high = _wide(5, "103,101,101,70000,,A,3,,1,").replace(b"104,103,101,2", b"104,103,101,70000")
    yield _bad("high leg taken", high, (6, "placement_leg", "line 5"))
    yield _bad("leg of nobody", _wide(5, "103,101,,1,,A,3,,1,"), (5, "placement_leg", "without a placement_id"))


def _links() -> Iterator[BadFile]:
    yield _bad("unknown sponsor", _with(5, "103,999,A,3,,1"), (5, "sponsor_id", '"999" is not in the file'))
    yield _bad("sponsor in another case", _csv("a1,,A,1,,1", "b1,A1,A,1,,1"), (3, "sponsor_id", "not in the file"))
    yield _bad("sponsor with leading zero", _with(5, "103,0101,A,3,,1"), (5, "sponsor_id", "not in the file"))
    long = "1" * 32
    yield _bad("long unknown sponsor", _with(5, f"103,{long},A,3,,1"), (5, "sponsor_id", "not in the file"))
    orphans = _csv(*GOOD, *(f"x{number},y{number},A,1,,1" for number in range(150)))
    told = ((line, "sponsor_id", f'"y{line - 8}"') for line in range(8, 108))
    yield _bad("150 orphans", orphans, *told, count=150)
    both = _with(5, ",101,A,3,,1").replace(b"\n104,103,", b"\n104,999,")
    # While an id can't be read, nobody can say who is missing.
    yield _bad("unreadable id beside an orphan", both, (5, "member_id", "empty"))


def _ring(length: int, before: int = 0) -> bytes:
    ring = (f"r{number},r{(number + 1) % length},A,1,,1" for number in range(length))
    tail = ("tail0,r0,A,1,,1", "tail1,tail0,A,1,,1")
    return _csv(*(f"good{number},,A,1,,1" for number in range(before)), *ring, *tail)


def _cycles() -> Iterator[BadFile]:
    for length in (1, 2, 3, 7, 50):
        told = ((line, "sponsor_id", "own upline") for line in range(2, 2 + length))
        yield _bad(f"cycle of {length}", _ring(length), *told)
    for length in (1_000, 10_000):
        told = ((line, "sponsor_id", "own upline") for line in range(102, 202))
        yield _bad(f"cycle of {length}", _ring(length, before=100), *told, count=length)
    two = _csv("a,b,A,1,,1", "b,a,A,1,,1", "c,,A,1,,1", "d,e,A,1,,1", "e,d,A,1,,1")
    told_two = tuple((line, "sponsor_id", "own upline") for line in (2, 3, 5, 6))
    yield _bad("two cycles", two, *told_two)


def _placements() -> Iterator[BadFile]:
    yield _bad("unknown placement", _wide(5, "103,101,999,1,,A,3,,1,"), (5, "placement_id", '"999" is not'))
    own = _wide(5, "103,101,103,1,,A,3,,1,")
    yield _bad("placed below itself", own, (5, "placement_id", "above itself"))
    lines = ("a,,b,1,,A,1,,1,", "b,a,a,1,,A,1,,1,")
    told = ((2, "placement_id", "a < b < a"), (3, "placement_id", "b < a < b"))
    yield _bad("placement cycle, sponsors sound", _csv(*lines, header=WIDE_HEADER), *told)


def _gzip() -> Iterator[BadFile]:
    packed = gzip.compress(_csv(*GOOD, *(f"x{number},100,A,1,,1" for number in range(20_000))), 6)
    gz: dict[str, Any] = {"suffix": ".csv.gz"}
    yield _bad("gzip cut in half", packed[: len(packed) // 2], (0, "", "ends early"), **gz)
    yield _bad("gzip without its last byte", packed[:-1], (0, "", "ends early"), **gz)
    yield _bad("gzip header alone", packed[:10], (0, "", "ends early"), **gz)
    yield _bad("gzip of nothing", gzip.compress(b""), (0, "", "no line"), **gz)
    middle = len(packed) // 2
    damaged = packed[:middle] + bytes(255 - byte for byte in packed[middle : middle + 8]) + packed[middle + 8 :]
    yield _bad("gzip damaged", damaged, (0, "", "damaged"), **gz)
    checksum = packed[:-8] + bytes(255 - byte for byte in packed[-8:-4]) + packed[-4:]
    yield _bad("gzip with a wrong checksum", checksum, (0, "", "damaged"), **gz)
    yield _bad("gzip with garbage behind", packed + b"garbage", (0, "", "damaged"), **gz)
    yield _bad("gzip in gzip", gzip.compress(packed), (1, "", "not text"), **gz)
    yield _bad("bad row in gzip", gzip.compress(_with(5, "103,101,A,3,,x")), (5, "pv", "not a decimal"), **gz)


def _zeros(size_bytes: int, start: bytes, fill: bytes) -> bytes:
    """A gzip file of `start`, then `fill` again and again, made without holding it unpacked."""
    packer = zlib.compressobj(9, wbits=31)
    piece = fill * ((1 << 20) // len(fill))
    parts = [packer.compress(start)]
    parts += [packer.compress(piece) for _ in range(size_bytes // len(piece))]
    return b"".join([*parts, packer.flush()])


def _over_limits() -> Iterator[BadFile]:
    head = _csv(*GOOD)
    gz: dict[str, Any] = {"suffix": ".csv.gz"}
    yield _bad("bomb of one line", _zeros(300 << 20, head, b"x"), (8, "", "longer than 1,048,576 bytes"), **gz)
    yield _bad("bomb of rows", _zeros(300 << 20, head, b"1,1,A,1,,1\n"), (0, "", "taken for a bomb"), **gz)
    yield _bad("bomb of line ends", _zeros(300 << 20, head, b"\n"), (8, "", "empty lines"), **gz)
    hopeless = _csv(*GOOD, *("x" for _ in range(60)))
    told_hopeless = ((line, "", "fewer fields") for line in range(8, 68))
    yield _bad("hopeless", hopeless, *told_hopeless, limits=ImportLimits(checked_wrong_rows=20, block_bytes=60))
    small = ImportLimits(unpacked_bytes=4 << 20)
    more_lines = _zeros(5 << 20, head, b"1,1,A,1,,1\n")
    yield _bad("more than may be unpacked", more_lines, (0, "", "unpacks to more than the limit"), limits=small, **gz)
    yield _bad("file too large", head, (0, "", "more than the limit of 100"), limits=ImportLimits(file_bytes=100))
    yield _bad("too many rows", head, (0, "", "limit of 5 members"), limits=ImportLimits(rows=5))
    yield _bad("too many columns", _csv("1", header=HEADER + "".join(f",c{n}" for n in range(251))),
               (1, "", "257 columns"))  # fmt: skip
    huge = "x" * 2_000
    yield _bad("huge field", _wide(4, f"102,100,100,R,C,C,0,,0.00,{huge}"), (4, "note", "longer than 1024 bytes"))
    yield _bad("huge quoted field", _with(4, f'102,100,"{huge}",0,,0'), (4, "status", "longer than 1024 bytes"))
    endless = _with(4, "x" * 3_000_000)
    yield _bad("endless line", endless, (4, "", "longer than 1,048,576 bytes"))
    statuses = _csv(*(f"m{number},,S{number},1,,1" for number in range(20)))
    few = ImportLimits(statuses=8)
    told = ((line, "status", "8 different") for line in range(10, 22))
    yield _bad("too many statuses", statuses, *told, limits=few)


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
    yield _bad("Parquet cut in half", good[: len(good) // 2], (0, "", "damaged or was cut off"), **parquet)
    yield _bad("Parquet without its last byte", good[:-1], (0, "", "damaged or was cut off"), **parquet)
    yield _bad("Parquet magic alone", b"PAR1", (0, "", "damaged or was cut off"), **parquet)
    pages = good[:4] + bytes(255 - byte for byte in good[4:60]) + good[60:]
    yield _bad("Parquet pages damaged", pages, (0, "", "damaged or was cut off"), **parquet)
    no_rows = _parquet_bytes({name: pa.array([], pa.string()) for name in _parquet_columns()})
    yield _bad("Parquet without rows", no_rows, (0, "", "no members"), **parquet)
    without = _parquet_columns()
    del without["sponsor_id"]
    yield _bad("Parquet without sponsor_id", _parquet_bytes(without), (1, "sponsor_id", "missing"), **parquet)
    nested = _parquet_columns(status=[["A"], ["A"], ["C"], []])
    yield _bad("Parquet with lists", _parquet_bytes(nested), (0, "status", "flatten"), **parquet)
    few = ImportLimits(rows=3)
    yield _bad("Parquet with too many rows", good, (0, "", "limit of 3"), limits=few, **parquet)
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
    yield _bad("Parquet bomb of one long text", _parquet_bytes(bomb), *told, count=rows, **parquet)


def _parquet_values() -> Iterator[BadFile]:
    cases: dict[str, tuple[Callable[[], dict[str, Any]], tuple[int, str, str]]] = {
        "null id": (lambda: _parquet_columns(member_id=["100", None, "102", "103"]), (3, "member_id", "empty")),
        "id twice": (lambda: _parquet_columns(member_id=["100", "101", "102", "101"]), (5, "member_id", "line 3")),
        "orphan": (lambda: _parquet_columns(sponsor_id=[None, "100", "9", "101"]), (4, "sponsor_id", "not in")),
        "cycle": (lambda: _parquet_columns(sponsor_id=[None, "100", "102", "101"]), (4, "sponsor_id", "own upline")),
        "float": (lambda: _parquet_columns(pv=[1.0, 2.5, 0.1 + 0.2, 3.0]), (4, "pv", "more than two")),
        "not a number": (lambda: _parquet_columns(pv=[1.0, float("nan"), 1.0, 3.0]), (3, "pv", "not a decimal")),
        "large float": (lambda: _parquet_columns(pv=[1.0, 2.0, 1e30, 3.0]), (4, "pv", "not a decimal")),
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
        yield _bad(f"Parquet: {name}", _parquet_bytes(columns()), told, suffix=".parquet")
