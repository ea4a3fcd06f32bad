"""Records of COBOL programs: each picture by its bytes, and layouts that can't be."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.datatrax.layouts.layout import LayoutError, RecordError, layout_of
from services.datatrax.layouts.pictures import picture_of

ORDERS = b"""
change = "volume_posted"
update_id = "order-{order}"

[[fields]]
name = "order"
picture = "X(6)"

[[fields]]
name = "member_id"
picture = "9(9)"

[[fields]]
name = "filler"
picture = "X(2)"

[[fields]]
name = "amount"
picture = "S9(5)V99"

[[fields]]
name = "period"
picture = "9(6)"
date = "YYYYMM"

[[fields]]
name = "volume_type"
picture = "X"
values = {P = "PV", C = "CV"}
"""


@pytest.mark.parametrize(
    ("picture", "field", "text"),
    [
        ("X(6)", b"AB 1  ", "AB 1"),
        ("XX", b"a\0", "a"),
        ("X", b" ", ""),
        ("9(5)", b"00042", "42"),
        ("9(5)", b"00000", "0"),
        ("9(5)", b"   42", "42"),
        ("9(5)", b"     ", ""),
        ("9(3)V99", b"01250", "12.50"),
        ("V99", b"05", "0.05"),
        ("99V9(4)", b"120005", "12.0005"),
        ("S9(4)", b"012{", "120"),
        ("S9(4)", b"012A", "121"),
        ("S9(4)", b"012}", "-120"),
        ("S9(4)", b"012R", "-129"),
        ("S9(4)", b"012y", "-129"),
        ("S9(4)", b"0123", "123"),
        ("S9(3)V99", b"0000}", "0.00"),
        ("S9(3) SIGN LEADING SEPARATE", b"-012", "-12"),
        ("s9(3) sign is trailing separate", b"012+", "12"),
        ("S9(3)V99 COMP-3", bytes.fromhex("01250c"), "12.50"),
        ("S9(3)V99 USAGE COMP-3", bytes.fromhex("01250d"), "-12.50"),
        ("9(4) COMPUTATIONAL-3", bytes.fromhex("01250f"), "1250"),
        ("9 COMP-3", bytes.fromhex("7f"), "7"),
    ],
)
def test_each_picture_by_its_bytes(picture: str, field: bytes, text: str) -> None:
    found = picture_of(picture)
    assert found.byte_count == len(field)
    assert found.text_of(field, "ascii") == text


def test_ebcdic_has_its_own_signs() -> None:
    assert picture_of("S9(4)").text_of(bytes.fromhex("f0f1f2d3"), "cp037") == "-123"
    assert picture_of("S9(4)").text_of(bytes.fromhex("f0f1f2c3"), "cp037") == "123"
    assert picture_of("X(3)").text_of("aé ".encode("cp037"), "cp037") == "aé"


@given(st.integers(-(10**9) + 1, 10**9 - 1), st.integers(0, 9))
def test_numbers_come_back_from_each_form(number: int, places: int) -> None:
    expected = format(Decimal(number).scaleb(-places), "f") if places else str(number)
    digits = f"{abs(number):09}"
    minus = number < 0
    whole, part = "9" * (9 - places), f"V9({places})" if places else ""
    over = digits[:-1] + ("}JKLMNOPQR" if minus else "{ABCDEFGHI")[int(digits[-1])]
    packed = bytes.fromhex(digits + ("d" if minus else "c"))
    for picture, field, encoding in (
        (f"S{whole}{part}", over.encode(), "ascii"),
        (f"S{whole}{part}", over.encode("cp037"), "cp037"),
        (f"S{whole}{part} COMP-3", packed, "ascii"),
        (f"S{whole}{part} SIGN TRAILING SEPARATE", (digits + ("-" if minus else "+")).encode(), "ascii"),
    ):
        if not whole and not part:
            continue
        assert Decimal(picture_of(picture).text_of(field, encoding)) == Decimal(expected)


@given(
    st.sampled_from(["X(4)", "9(4)", "S9(4)", "S99V99", "S9(3) SIGN LEADING SEPARATE", "S9(7) COMP-3", "9(6) COMP-3"]),
    st.binary(min_size=4, max_size=4),
    st.sampled_from(["ascii", "latin-1", "cp037"]),
)
def test_any_bytes_are_a_text_or_an_error(picture: str, field: bytes, encoding: str) -> None:
    try:
        said = picture_of(picture).text_of(field, encoding)
    except ValueError as error:
        said = str(error)
    assert said.isprintable() or said == field.decode(encoding).rstrip(" \0")


@pytest.mark.parametrize(
    ("picture", "field"),
    [("9(3)", b"1 2"), ("9(3)", b"-12"), ("S9(3)", b"12Z"), ("9(3)", b"12A"), ("S99 SIGN LEADING SEPARATE", b"012"),
     ("S9(3) COMP-3", b"\x12\x34"), ("S9(3) COMP-3", b"\x1a\x3c"), ("S99 COMP-3", b"\x12\x3c"), ("XX", b"\xff\xff"),
     ("9(3)", "１２".encode()[:3])],
)  # fmt: skip
def test_what_is_no_number_is_refused(picture: str, field: bytes) -> None:
    with pytest.raises(ValueError, match=r"correct it|name another|\+ or -"):
        picture_of(picture).text_of(field, "ascii")


@pytest.mark.parametrize(
    "picture",
    ["", "X(0)", "X(1025)", "9(32)", "S", "V", "9V", "A(3)", "X(3) COMP-3", "9(3) COMP-5", "9(3) SIGN LEADING SEPARATE",
     "S9(3) COMP-3 SIGN LEADING SEPARATE", "9(3", "X" * 2_000, "9(3)V", "S-9"],
)  # fmt: skip
def test_what_is_no_picture_is_refused(picture: str) -> None:
    with pytest.raises(ValueError, match=r"write X|digits|bytes|COMP-3"):
        picture_of(picture)


# -- layouts


def test_a_record_becomes_texts_by_the_fields_names() -> None:
    layout = layout_of(ORDERS)
    assert layout.record_bytes == 31
    texts = layout.texts_of(b"A-0001000010420  000125}202611P")
    assert texts == {
        "order": "A-0001", "member_id": "10420", "amount": "-12.50", "period": "2026-11", "volume_type": "PV"
    }  # fmt: skip
    assert layout.id_of(texts, "file:1") == "order-A-0001"
    short = layout.texts_of(b"A-0001000010420  0001250")
    assert short == {"order": "A-0001", "member_id": "10420", "amount": "12.50"}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (b"A-0001000010420  000125}202611X", '"X" is none of P, C'),
        (b"A-00010000x0420  000125}202611P", r"member_id \(bytes 7 to 15\)"),
        (b"A-0001000010420  000125}20-611P", r"period \(bytes 25 to 30\)"),
        (b"A" * 32, "the record has 32 bytes, the layout 31"),
    ],
)
def test_a_bad_record_names_its_field(record: bytes, expected: str) -> None:
    with pytest.raises(RecordError, match=expected):
        layout_of(ORDERS).texts_of(record)


def test_days_and_places_of_fields() -> None:
    layout = layout_of(
        b'change = "member_enrolled"\nencoding = "ebcdic"\nends = "none"\nrecord_bytes = 40\n'
        b'[[fields]]\nname = "joined_on"\npicture = "9(8)"\ndate = "MMDDYYYY"\nat = 11\n'
        b'[[fields]]\nname = "member_id"\npicture = "X(10)"\nat = 1\n'
        b'[[fields]]\nname = "columns.Country"\npicture = "XX"\nat = 19\n'
    )
    record = ("ab        " + "03072026" + "CH").ljust(40).encode("cp037")
    assert layout.texts_of(record) == {"joined_on": "2026-03-07", "member_id": "ab", "columns.Country": "CH"}
    assert "joined_on" not in layout.texts_of(("ab        " + "00000000").ljust(40).encode("cp037"))
    assert layout.id_of({}, "file:7") == "file:7"
    with pytest.raises(RecordError, match="the layout 40"):
        layout.texts_of(record[:39])


def test_an_id_needs_its_fields() -> None:
    layout = layout_of(ORDERS)
    with pytest.raises(RecordError, match="order is empty"):
        layout.id_of(layout.texts_of(b"      000010420  0001250"), "file:1")


def field_with(**changed: str) -> bytes:
    section = {"name": '"member_id"', "picture": '"9(9)"'} | changed
    return b'change = "volume_posted"\n[[fields]]\n' + "\n".join(f"{k} = {v}" for k, v in section.items()).encode()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "missing required field"),
        (b"\xff\xfe", "not UTF-8"),
        (b"change = ", "Invalid value"),
        (b'change = "volume_posted"\nfields = []', "0 fields"),
        (b'change = "volume_posted"\nfieldz = []', "unknown field"),
        (b'change = 1\nfields = []', "Expected `str`"),
        (field_with(name='"Member"'), "small letters"),
        (field_with(picture='"9(99)"'), "1 to 31 digits"),
        (field_with(picture="9"), "Expected `str`"),
        (field_with(at="0"), "begins at byte 0"),
        (field_with(at="99999"), "begins at byte 99,999"),
        (field_with(date='"DDMM"'), "write YYYY, MM and DD"),
        (field_with(values='{A = 1}'), "Expected `str`"),
        (field_with() + b'\n[[fields]]\nname="member_id"\npicture="X"', "twice"),
        (field_with(picture='"9(9) COMP-3"'), 'set ends = "none"'),
        (b'encoding = "ebcdic"\n' + field_with(), 'set ends = "none"'),
        (b'encoding = "utf-7"\n' + field_with(), "must be ascii or latin-1 or ebcdic"),
        (b'ends = "crlf"\n' + field_with(), "must be line or none"),
        (b"record_bytes = 8\n" + field_with(), "must be 9"),
        (b"record_bytes = 40000\n" + field_with(), "must be 9"),
        (b'update_id = "x"\n' + field_with(), "the same for every record"),
        (b'update_id = "{order}"\n' + field_with(), "which is no field"),
        (b'update_id = "{member_id}}"\n' + field_with(), "a brace that is not closed"),
        (b"#" * 70_000, "longer than 65,536 bytes"),
        (b"a = " + b"[" * 5_000, "docs/datatrax.md"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("uncollected")
def test_what_is_no_layout_is_refused(content: bytes, expected: str) -> None:
    with pytest.raises(LayoutError, match=expected):
        layout_of(content)
