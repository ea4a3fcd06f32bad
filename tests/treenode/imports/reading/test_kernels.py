"""The kernels' short ways against the plain ones."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.shared.domain.columns import holds_obeyed
from services.treenode.imports.reading.faults import DATE_FORMAT, TEXT_CONTROL, TEXT_ENCODING
from services.treenode.imports.reading.kernels.fields import read_days, read_hundredths, read_ids
from services.treenode.imports.reading.kernels.lines import (
    count_lines,
    find_rows,
    mark_ends,
    split_plain_lines,
    split_rows,
)
from services.treenode.imports.reading.kernels.texts import SHORT_BYTES, TEXTS_REMEMBERED, move_references, pack_texts
from services.treenode.tree.columns.text_hash import LENGTH_BITS, LENGTH_MASK
from services.treenode.tree.kernels.kernel import AnyArray

FIELD_BYTES = 12


def columns_of(texts: list[bytes], behind: int) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Fields one after another, `behind` more bytes after the last: data, starts, lengths."""
    lengths = np.array([len(text) for text in texts], np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int32)
    data = np.frombuffer(b"".join(texts) + b"9" * behind, np.uint8)
    return data, starts, lengths


@given(
    lines=st.lists(
        st.text(alphabet="ab,;\r é", max_size=30).filter(lambda line: "\n" not in line), min_size=1, max_size=9
    ),
    columns=st.integers(1, 4),
)
@settings(deadline=None)
def test_lines_without_quotes_are_split_alike_by_both_ways(lines: list[str], columns: int) -> None:
    block = "".join(f"{line}\n" for line in lines).encode()
    results = []
    for plain in (False, True):
        data = np.frombuffer(bytearray(block), np.uint8)
        starts, lengths = np.full((columns, len(lines)), 7, np.int32), np.full((columns, len(lines)), 7, np.int32)
        fault, fault_column = np.full(len(lines), 7, np.uint8), np.full(len(lines), 7, np.int16)
        assert count_lines(data) == len(lines)
        if plain:
            marks = np.full(-(-len(block) // 8), 7, np.uint64)
            mark_ends(data, marks.view(np.uint8))
            split_plain_lines(data, marks, FIELD_BYTES, starts, lengths, fault, fault_column)
        else:
            row_starts = np.empty(len(lines) + 1, np.int32)
            assert find_rows(data, FIELD_BYTES, False, row_starts) == len(lines)
            split_rows(data, row_starts, FIELD_BYTES, starts, lengths, fault, fault_column)
        results.append((starts.tolist(), lengths.tolist(), fault.tolist(), fault_column.tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize("behind", [0, 8])
def test_amounts_of_every_length_are_read_to_the_hundredth(behind: int) -> None:
    texts = [
        f"{sign}{10**digits - 7 * digits - 1}{places}"
        for digits in range(1, 15)
        for sign in ("", "-")
        for places in ("", ".5", ".05", ".99")
    ]
    data, starts, lengths = columns_of([text.encode() for text in texts], behind)
    out, fault, fault_column = (
        np.empty(len(texts), np.int64),
        np.zeros(len(texts), np.uint8),
        np.zeros(len(texts), np.int16),
    )
    read_hundredths(data, starts, lengths, out, fault, fault_column, 0)
    assert not fault.any()
    assert out.tolist() == [int(Decimal(text) * 100) for text in texts]


def test_every_day_of_four_centuries_is_read_and_its_neighbours_are_refused() -> None:
    days = [date(1899, 12, 31) + timedelta(days=number) for number in range(146_100)]
    wrong = [b"2020-01-1x", b"2020/01/11", b"20200-1-11", b"2020-01-111", b"202a-01-11", b"2020-01 11", b" 2020-1-11"]
    texts = [day.isoformat().encode() for day in days] + wrong
    data, starts, lengths = columns_of(texts, 0)
    out, fault, fault_column = (
        np.empty(len(texts), np.int32),
        np.zeros(len(texts), np.uint8),
        np.zeros(len(texts), np.int16),
    )
    read_days(data, starts, lengths, out, fault, fault_column, 0)
    assert out[: len(days)].tolist() == [(day - date(1970, 1, 1)).days for day in days]
    assert not fault[: len(days)].any()
    assert set(fault[len(days) :].tolist()) == {DATE_FORMAT}


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("behind", [0, 8])
def test_ids_of_every_length_keep_their_characters_and_nothing_else(width: int, behind: int) -> None:
    texts = [bytes(range(33 + length, 33 + 2 * length)) for length in range(width * 4 + 1)]
    data, starts, lengths = columns_of(texts, behind)
    out, fault, fault_column = (
        np.full((len(texts), width), 7, np.uint32),
        np.zeros(len(texts), np.uint8),
        np.zeros(len(texts), np.int16),
    )
    read_ids(data, starts, lengths, True, out, fault, fault_column, 0)
    assert not fault.any()
    assert out.view(f"S{width * 4}").ravel().tolist() == texts


def test_an_id_with_any_byte_that_is_not_printable_is_refused() -> None:
    bad = [byte for byte in range(256) if not 32 <= byte <= 126]
    texts = [b"abc%bdefghi"[:place] + bytes([byte]) + b"xyzuvwst"[: 9 - place] for byte in bad for place in (1, 4, 8)]
    data, starts, lengths = columns_of(texts, 0)
    out, fault, fault_column = (
        np.empty((len(texts), 4), np.uint32),
        np.zeros(len(texts), np.uint8),
        np.zeros(len(texts), np.int16),
    )
    read_ids(data, starts, lengths, True, out, fault, fault_column, 0)
    assert fault.all()
    assert not out.any()


def packed(texts: list[bytes], behind: int) -> tuple[list[bytes], list[int], bytes]:
    """Each text as its reference has it, its fault, and all that was packed."""
    data, starts, lengths = columns_of(texts, behind)
    room, seen = np.empty(len(data) + SHORT_BYTES, np.uint8), np.zeros((TEXTS_REMEMBERED, 2), np.int64)
    out, fault = np.empty(len(texts), np.int64), np.zeros(len(texts), np.uint8)
    fault_column = np.zeros(len(texts), np.int16)
    used = pack_texts(data, starts, lengths, True, room, seen, out, fault, fault_column, 0)
    move_references(out, 5)
    begins = (out >> LENGTH_BITS) - 5
    found = [
        room[begin : begin + length].tobytes() if length else b""
        for begin, length in zip(begins.tolist(), (out & LENGTH_MASK).tolist(), strict=True)
    ]
    return found, fault.tolist(), room[:used].tobytes()


@pytest.mark.parametrize("behind", [0, 8, SHORT_BYTES])
def test_texts_of_every_length_are_packed_and_equal_ones_once(behind: int) -> None:
    """Short ones and long ones, with characters beyond ASCII at every place."""
    plain = [bytes(33 + (length + place) % 90 for place in range(length)) for length in range(80)]
    plain = [text.replace(b'"', b"'") for text in plain]
    wide = [("x" * place + each + "y" * (9 - place)).encode() for place in range(10) for each in ("\u00e9", "\u4e2d")]
    texts = [*plain, *wide, *plain[:40]]
    found, fault, room = packed(texts, behind)
    assert found == texts
    assert not any(fault)
    # Remembered by their words; the last ones, behind which there is nothing, by others.
    assert len(b"".join([*plain, *wide])) <= len(room) < len(b"".join(texts)) - (300 if behind else 0)


def test_texts_that_terminals_obey_or_that_are_no_utf8_are_refused_wherever_that_stands() -> None:
    characters = [chr(code) for code in (*range(0x80, 0x3000), *range(0xFFF0, 0x10010)) if not 0xD800 <= code < 0xE000]
    texts = [f"{'x' * (place % 11)}{character}yz".encode() for place, character in enumerate(characters)]
    found, fault, _ = packed(texts, 0)
    obeyed = [holds_obeyed(text) for text in texts]
    assert sum(obeyed) == 32 + 5 + 4
    assert fault == [TEXT_CONTROL if each else 0 for each in obeyed]
    assert found == [b"" if each else text for text, each in zip(texts, obeyed, strict=True)]
    broken = [
        b"a" * place + each + b"b" for place in range(10) for each in (b"\xff", b"\xc3", b"\xe2\x80", b"\xed\xa0\x80")
    ]
    found, fault, room = packed([*broken, b"\xc2\x85 \xff"], 8)
    assert set(fault) == {TEXT_ENCODING}
    assert (set(found), room) == ({b""}, b"")
