"""Malformed import files, made by code, each with what must be said about it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.treenode.imports.reading.bad_file import (
    GOOD,
    HEADER,
    WIDE_HEADER,
    BadFile,
    bad,
    csv_file,
    spoilt,
    spoilt_wide,
)
from tests.treenode.imports.reading.packed_corpus import packed_files


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
    yield from packed_files()


def _whole_files() -> Iterator[BadFile]:
    yield bad("empty file", b"", (0, "", "empty"))
    yield bad("only line ends", b"\n\r\n\n", (0, "", "no line"))
    yield bad("only a byte order mark", b"\xef\xbb\xbf", (0, "", "no line"))
    yield bad("header alone", csv_file(), (0, "", "no members"))
    yield bad("header without a line end", HEADER.encode(), (0, "", "no members"))
    yield bad("office document", b"\xd0\xcf\x11\xe0" + bytes(60), (0, "", "office"))
    yield bad("7z file", b"7z\xbc\xaf\x27\x1c" + bytes(60), (0, "", "a 7z file"))
    yield bad("RAR file", b"Rar!\x1a\x07\x00" + bytes(60), (0, "", "a RAR file"))
    yield bad("empty zip", b"PK\x05\x06" + bytes(18), (0, "", "without a file in it"))
    yield bad("binary", bytes(range(256)) * 8, (1, "", "not text"))
    yield bad("plain text named .gz", csv_file(*GOOD), (0, "", "gzipped CSV"), suffix=".csv.gz")
    yield bad("plain text named .parquet", csv_file(*GOOD), (0, "", "Parquet"), suffix=".parquet")


def _encodings() -> Iterator[BadFile]:
    yield bad("UTF-16, little end", b"\xff\xfe" + csv_file(*GOOD).decode().encode("utf-16-le"),
               (1, "", "UTF-16"))  # fmt: skip
    yield bad("UTF-16, big end", b"\xfe\xff" + csv_file(*GOOD).decode().encode("utf-16-be"), (1, "", "UTF-16"))
    yield bad("header in Latin-1", csv_file(*GOOD).replace(b"status", b"st\xe4tus"), (1, "", "UTF-8"))
    yield bad("id in Latin-1", csv_file(*GOOD).replace(b"\n103,", b"\n10\xe9,"), (5, "member_id", "printable ASCII"))
    yield bad("id in UTF-8", spoilt(5, "10é,101,A,3,,-5.25"), (5, "member_id", "printable ASCII"))
    latin = spoilt_wide(4, "102,100,100,R,C,C,0,2024-02-29,0.00,caf?").replace(b"?", b"\xe9")
    yield bad("text in Latin-1", latin, (4, "note", "UTF-8"))
    cut = spoilt_wide(4, "102,100,100,R,C,C,0,2024-02-29,0.00,?").replace(b"?", b"\xe2\x82")
    yield bad("UTF-8 letter cut off", cut, (4, "note", "UTF-8"))
    overlong = spoilt_wide(4, "102,100,100,R,C,C,0,2024-02-29,0.00,?").replace(b"?", b"\xc0\xaf")
    yield bad("UTF-8 overlong", overlong, (4, "note", "UTF-8"))
    surrogate = spoilt_wide(4, "102,100,100,R,C,C,0,2024-02-29,0.00,?").replace(b"?", b"\xed\xa0\x80")
    yield bad("UTF-8 surrogate", surrogate, (4, "note", "UTF-8"))
    nul = spoilt_wide(4, "102,100,100,R,C,C,0,2024-02-29,0.00,a\0b")
    yield bad("NUL in a text", nul, (4, "note", "control"))
    for told, text in (("a C1 control", "a\u009b31mb"), ("text turned about", "x\u202ey"), ("\u0092", "it\u0092s")):
        line = spoilt_wide(4, f"102,100,100,R,C,C,0,2024-02-29,0.00,{text}")
        yield bad(told, line, (4, "note", "terminals obey"))
    yield bad("tab in an id", spoilt(6, "10\t4,103,C,0,2026-11-01,7"), (6, "member_id", "printable ASCII"))


def _headers() -> Iterator[BadFile]:
    for name in ("member_id", "sponsor_id", "status", "rank", "joined_on", "pv"):
        yield bad(f"no {name}", csv_file(*GOOD).replace(name.encode(), b"other"), (1, name, "missing"))
    yield bad("two ranks", csv_file("100,,A,5,,1,5", header=HEADER + ",Rank"), (1, "Rank", "already has"))
    twice = HEADER + ",pv:2026-11"
    yield bad("pv twice, by its period", csv_file("100,,A,5,,1,5", header=twice), (1, "pv:2026-11", "already has pv"))
    yield bad("nameless column", csv_file("100,,A,5,,1,5", header=HEADER + ","), (1, "", "no name"))
    yield bad("no such month", csv_file("100,,A,5,,1,5", header=HEADER + ",pv:2026-13"), (1, "pv:2026-13", "2026-11"))
    for name, words in (
        *(("points:interger", "one of text, integer, decimal, date"), ("xv:2026-13", "TYPE:2026-11")),
        *(("level:text", "for itself"), ("volumes", "for itself"), ("*:text", "for itself"), (":text", "needs a name")),
        *(("pv:text", "for itself"), ("pv:2026-11:date:x", "2026-11")),
    ):
        yield bad(f"column {name}", csv_file("100,,A,5,,1,5", header=f"{HEADER},{name}"), (1, name, words))
    typed = csv_file("100,,A,5,,1,5.5,x,2026-02-30,1e3", header=HEADER + ",a:integer,b:text,c:date,d:decimal")
    yield bad("a value that is not of its column's type", typed, (2, "a", "more than the 0 decimal places"))
    many = csv_file("100,,A,5,,1,5", header="member_id,sponsor_id,a:b,,state,Pv,pv")
    missing = ((1, name, "missing") for name in ("rank", "status"))
    yield bad("many faults in a header", many, (1, "", "no name"), (1, "a:b", "a type"), (1, "joined_on", "missing"),
               (1, "pv", "already has Pv"), *missing)  # fmt: skip
    yield bad("semicolons", csv_file(*GOOD).replace(b",", b";"), (1, "member_id", "no comma"))
    yield bad("tabs", csv_file(*GOOD).replace(b",", b"\t"), (1, "member_id", "no comma"))
    yield bad("open quote in the header", b'"' + csv_file(*GOOD), (1, "", "quote in the header"))
    yield bad("carriage returns alone", csv_file(*GOOD).replace(b"\n", b"\r"), (1, "", "carriage return"))
    yield bad("empty first line", b"\n" + csv_file(*GOOD), (1, "", "header line is empty"))
    yield bad("leg without placement", csv_file("100,,A,5,,1,L", header=HEADER + ",placement_leg"),
               (1, "placement_leg", "placement_id"))  # fmt: skip


def _lines() -> Iterator[BadFile]:
    yield bad("field missing", spoilt(5, "103,101,A,3,"), (5, "", "fewer fields than the header's 6"))
    yield bad("field too many", spoilt(5, "103,101,A,3,,-5.25,x"), (5, "", "more fields than the header's 6"))
    yield bad("comma in a text", spoilt(5, "103,101,A,3,,-5,25"), (5, "", "in quotes"))
    yield bad("empty line", spoilt(5, ""), (5, "", "empty"))
    yield bad("empty line, Windows", spoilt(5, "").replace(b"\n", b"\r\n"), (5, "", "empty"))
    yield bad("open quote", spoilt(5, '103,101,"A,3,,-5.25'), (5, "status", "does not end"))
    yield bad("quote opens the last field", spoilt(7, '105,,A,12,2000-02-29,"0.1'), (7, "pv", "does not end"))
    yield bad("quote in a field", spoilt(5, '103,101,A"B,3,,-5.25'), (5, "status", "quote inside"))
    yield bad("text after a quote", spoilt(5, '103,101,"A"B,3,,-5.25'), (5, "status", "after the closing quote"))
    broken = csv_file(*GOOD[:3], '103,"10\n1",A,3,,-5.25', "104,103,C,0,2026-11-01,x", GOOD[5])
    yield bad("line break in an id", broken, (5, "sponsor_id", "printable ASCII"), (7, "pv", "not a decimal number"))
    late = spoilt(5, '103,"10\n1"x,A,3,,-5.25')
    yield bad("line break before a quote that ends nothing", late, (5, "sponsor_id", "does not end"),
               (6, "member_id", "quote inside"))  # fmt: skip
    far = spoilt_wide(4, '102,100,100,R,C,C,0,,0.00,"' + "x" * 900 + "\n" + "x" * 900 + '"')
    yield bad("line break in a long text", far, (4, "note", "longer than 1024 bytes"))
    twice = csv_file('a,,A,1,,1,"x\n\ny"', 'a,,A,1,,1,"x\r\ny"', "a,,A,1,,1,", header=HEADER + ",note")
    yield bad("ids twice behind line breaks", twice, (5, "member_id", "on line 2"), (7, "member_id", "on line 2"))
    alone = spoilt_wide(4, "102,100,100,R,C,C,0,,0.00,a\rb")
    yield bad("carriage return outside of quotes", alone, (4, "note", "outside of quotes"))
    two = spoilt(3, '101,100,A"B,4,2021-02-28,20.50').replace(b",-5.25", b",x")
    yield bad("two wrong rows", two, (3, "status", "quote inside"), (5, "pv", "not a decimal number"))
    yield bad("binary zeros amid the file", spoilt(5, "\0" * 40), (5, "", "fewer fields"))
    yield bad("last line cut off", csv_file(*GOOD)[:-6], (7, "", "fewer fields"))


def _ids() -> Iterator[BadFile]:
    yield bad("no id", spoilt(5, ",101,A,3,,-5.25"), (5, "member_id", "empty"))
    yield bad("id of 33", spoilt(5, "1" * 33 + ",101,A,3,,-5.25"), (5, "member_id", "longer than 32"))
    yield bad("sponsor of 33", spoilt(5, f"103,{'1' * 33},A,3,,-5.25"), (5, "sponsor_id", "longer than 32"))
    yield bad("id begins with a space", spoilt(5, " 103,101,A,3,,-5.25"), (5, "member_id", "space"))
    yield bad("id ends with a space", spoilt(5, "103 ,101,A,3,,-5.25"), (5, "member_id", "space"))
    yield bad("sponsor ends with a space", spoilt(5, "103,101 ,A,3,,-5.25"), (5, "sponsor_id", "space"))
    yield bad("id of a space", spoilt(5, " ,101,A,3,,-5.25"), (5, "member_id", "space"))
    yield bad("delete character in an id", spoilt(5, "1\x7f3,101,A,3,,-5.25"), (5, "member_id", "printable ASCII"))
    yield bad("id twice", spoilt(6, "102,103,C,0,2026-11-01,7"), (6, "member_id", '"102" is already on line 4'))
    thrice = csv_file(*GOOD, GOOD[1], GOOD[1])
    yield bad("id three times", thrice, (8, "member_id", "line 3"), (9, "member_id", "line 3"))
    yield bad("every member twice", csv_file(*GOOD, *GOOD), *((line, "member_id", f"on line {line - 6}")
               for line in range(8, 14)))  # fmt: skip
    many = csv_file(*GOOD, *(f",100,A,0,,{number}" for number in range(300)))
    yield bad("more than are told", many, (8, "member_id", "empty"), (9, "member_id", "empty"), count=300)


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
        yield bad(f"pv: {name}", spoilt(5, f"103,101,A,3,,{text}"), (5, "pv", words))
    for name, text, words in (
        ("negative", "-1", "out of range"),
        ("too high", "32768", "out of range"),
        ("30 digits", "1" * 30, "out of range"),
        ("decimal", "1.5", "not a whole number"),
        ("text", "Gold", "not a whole number"),
    ):
        yield bad(f"rank: {name}", spoilt(5, f"103,101,A,{text},,1"), (5, "rank", words))
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
        yield bad(f"joined_on: {name}", spoilt(5, f"103,101,A,3,{text},1"), (5, "joined_on", words))
    yield bad("status of 17", spoilt(5, f"103,101,{'A' * 17},3,,1"), (5, "status", "longer than 16"))
    yield bad("status in UTF-8", spoilt(5, "103,101,é,3,,1"), (5, "status", "printable ASCII"))
    most = "92233720368547758.07"
    yield bad("sum of volumes", spoilt(5, f"103,101,A,3,,{most}"), (0, "pv", "sum of its volumes"))


def _wide_values() -> Iterator[BadFile]:
    for name, text, words in (
        ("letter", "X", "not a leg"),
        ("negative", "-1", "out of range"),
        ("too high", "2147483648", "out of range"),
        ("words", "left", "not a leg"),
    ):
        yield bad(f"leg: {name}", spoilt_wide(5, f"103,101,101,{text},,A,3,,1,"), (5, "placement_leg", words))
    for text in ("X", "dist", "distributors", "1"):
        yield bad(
            f"kind {text}", spoilt_wide(5, f"103,101,101,1,{text},A,3,,1,"), (5, "kind", "distributor or customer")
        )
    yield bad("leg taken", spoilt_wide(6, "104,103,101,1,,C,0,,7,"), (6, "placement_leg", "line 5"))
    yield bad("leg taken, L and 1", spoilt_wide(6, "104,103,101,L,,C,0,,7,"), (6, "placement_leg", "line 5"))
    high = spoilt_wide(5, "103,101,101,70000,,A,3,,1,").replace(b"104,103,101,2", b"104,103,101,70000")
    yield bad("high leg taken", high, (6, "placement_leg", "line 5"))
    yield bad("leg of nobody", spoilt_wide(5, "103,101,,1,,A,3,,1,"), (5, "placement_leg", "without a placement_id"))


def _links() -> Iterator[BadFile]:
    yield bad("unknown sponsor", spoilt(5, "103,999,A,3,,1"), (5, "sponsor_id", '"999" is not in the file'))
    yield bad("sponsor in another case", csv_file("a1,,A,1,,1", "b1,A1,A,1,,1"), (3, "sponsor_id", "not in the file"))
    yield bad("sponsor with leading zero", spoilt(5, "103,0101,A,3,,1"), (5, "sponsor_id", "not in the file"))
    long = "1" * 32
    yield bad("long unknown sponsor", spoilt(5, f"103,{long},A,3,,1"), (5, "sponsor_id", "not in the file"))
    orphans = csv_file(*GOOD, *(f"x{number},y{number},A,1,,1" for number in range(150)))
    told = ((line, "sponsor_id", f'"y{line - 8}"') for line in range(8, 108))
    yield bad("150 orphans", orphans, *told, count=150)
    both = spoilt(5, ",101,A,3,,1").replace(b"\n104,103,", b"\n104,999,")
    # While an id can't be read, nobody can say who is missing.
    yield bad("unreadable id beside an orphan", both, (5, "member_id", "empty"))


def _ring(length: int, before: int = 0) -> bytes:
    ring = (f"r{number},r{(number + 1) % length},A,1,,1" for number in range(length))
    tail = ("tail0,r0,A,1,,1", "tail1,tail0,A,1,,1")
    return csv_file(*(f"good{number},,A,1,,1" for number in range(before)), *ring, *tail)


def _cycles() -> Iterator[BadFile]:
    for length in (1, 2, 3, 7, 50):
        told = ((line, "sponsor_id", "own upline") for line in range(2, 2 + length))
        yield bad(f"cycle of {length}", _ring(length), *told)
    for length in (1_000, 10_000):
        told = ((line, "sponsor_id", "own upline") for line in range(102, 202))
        yield bad(f"cycle of {length}", _ring(length, before=100), *told, count=length)
    two = csv_file("a,b,A,1,,1", "b,a,A,1,,1", "c,,A,1,,1", "d,e,A,1,,1", "e,d,A,1,,1")
    told_two = tuple((line, "sponsor_id", "own upline") for line in (2, 3, 5, 6))
    yield bad("two cycles", two, *told_two)


def _placements() -> Iterator[BadFile]:
    yield bad("unknown placement", spoilt_wide(5, "103,101,999,1,,A,3,,1,"), (5, "placement_id", '"999" is not'))
    own = spoilt_wide(5, "103,101,103,1,,A,3,,1,")
    yield bad("placed below itself", own, (5, "placement_id", "above itself"))
    lines = ("a,,b,1,,A,1,,1,", "b,a,a,1,,A,1,,1,")
    told = ((2, "placement_id", "a < b < a"), (3, "placement_id", "b < a < b"))
    yield bad("placement cycle, sponsors sound", csv_file(*lines, header=WIDE_HEADER), *told)
