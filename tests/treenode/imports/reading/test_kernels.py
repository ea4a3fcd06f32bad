"""The kernels' short ways against the plain ones."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.treenode.imports.reading.faults import DATE_FORMAT
from services.treenode.imports.reading.kernels.fields import read_days, read_hundredths, read_ids
from services.treenode.imports.reading.kernels.lines import (
    count_lines,
    find_rows,
    mark_ends,
    split_plain_lines,
    split_rows,
)
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
