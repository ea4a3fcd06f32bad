"""Cells of further columns as text, many at once: bytes, and where each cell's begin."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.shared.domain.limits import DECIMAL_SCALE, NO_DAY, NO_NUMBER
from services.treenode.reports.columns import Column, Kind
from services.treenode.reports.encode.cells import DAY_LENGTH, put_day
from services.treenode.reports.rows import FrozenRows
from services.treenode.tree.kernels.kernel import Int64s, UInt8s, Whole, inner, kernel

#: Characters of a number at most: sign, 19 digits, point, and a zero before the point; one more to be even.
NUMBER_LENGTH_MAX = 24


class CellTexts(NamedTuple):
    """Texts of n cells."""

    #: uint8[…]
    content: UInt8s
    #: int64[n + 1]: where each cell's text begins.
    offsets: Int64s


@inner
def put_decimal(out: UInt8s, at: Whole, value: Whole, places: Whole) -> Whole:
    """Writes value / 10 ** places without idle zeros; where it ends."""
    # uint64 holds the absolute value of the smallest int64 too.
    rest = np.uint64(value) if value >= 0 else np.uint64(0) - np.uint64(value)
    if value < 0:
        out[at] = 45
        at += 1
    digits = 1
    power = np.uint64(10)
    while digits < 20 and rest >= power:
        digits += 1
        if digits < 20:
            power *= np.uint64(10)
    length = max(digits, places + 1) + (1 if places else 0)
    place = at + length - 1
    for number in range(max(digits, places + 1)):
        if places and number == places:
            out[place] = 46
            place -= 1
        out[place] = 48 + np.int64(rest % np.uint64(10))
        rest //= np.uint64(10)
        place -= 1
    at += length
    if places:
        while out[at - 1] == 48:
            at -= 1
        if out[at - 1] == 46:
            at -= 1
    return at


@kernel
def _numbers(values: Int64s, places: Whole, out: UInt8s, offsets: Int64s) -> None:
    at = 0
    for row in range(values.shape[0]):
        if values[row] != NO_NUMBER:
            at = put_decimal(out, at, values[row], places)
        offsets[row + 1] = at


@kernel
def _days(values: Int64s, out: UInt8s, offsets: Int64s) -> None:
    at = 0
    for row in range(values.shape[0]):
        if values[row] != NO_DAY:
            put_day(out, at, values[row])
            at += DAY_LENGTH
        offsets[row + 1] = at


def cell_texts(column: Column, rows: FrozenRows) -> CellTexts:
    """The texts of a further column's cells; an empty cell's is empty."""
    values = rows.values[column].astype(np.int64, copy=False)
    offsets = np.zeros(len(values) + 1, np.int64)
    if column.kind is Kind.TEXT:
        return CellTexts(*rows.texts[column].joined(values))
    if column.kind is Kind.DATE:
        out = np.empty(len(values) * DAY_LENGTH, np.uint8)
        _days(values, out, offsets)
    else:
        out = np.empty(len(values) * NUMBER_LENGTH_MAX, np.uint8)
        places = DECIMAL_SCALE if column.kind is Kind.DECIMAL else 0
        _numbers(values, places, out, offsets)
    return CellTexts(out, offsets)
