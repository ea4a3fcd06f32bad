"""First rows of an order against Python's own sort."""

from __future__ import annotations

import random

import numpy as np
import pytest

from services.treenode.reports.order.ordering import NO_IDS, Point, RowOrder, first_rows, no_point, padded_id

WIDTH = 8


@pytest.mark.parametrize("seed", range(30))
def test_pages_are_the_sorted_rows(seed: int) -> None:
    dice = random.Random(seed)
    count = dice.randrange(1, 120)
    ids = sorted({"".join(dice.choices("ab1", k=dice.randrange(1, WIDTH + 1))) for _ in range(count)})
    dice.shuffle(ids)
    count = len(ids)
    id_rows = np.array(ids, f"S{WIDTH}").view(np.uint8).reshape(count, WIDTH)
    values = [dice.randrange(-3, 3) for _ in range(count)] if dice.random() < 0.7 else []
    named = [dice.randrange(-1, count) for _ in range(count)] if dice.random() < 0.5 else []
    descending = dice.random() < 0.5
    order = RowOrder(
        np.array(values, np.int64),
        np.array(named, np.int32) if named else NO_IDS,
        descending,
        np.arange(count, dtype=np.int32),
        id_rows,
    )

    def name(row: int) -> str:
        return ids[named[row]] if named and named[row] >= 0 else ""

    expected = sorted(range(count), key=lambda row: ids[row])
    expected.sort(key=name, reverse=descending)
    if values:
        expected.sort(key=lambda row: values[row])
    point, size, found = no_point(WIDTH), dice.randrange(1, 40), []
    while True:
        rows, more = first_rows(order, point, size)
        found += list(rows)
        if not more:
            break
        last = int(rows[-1])
        point = Point(True, values[last] if values else 0, padded_id(name(last), WIDTH), padded_id(ids[last], WIDTH))
    assert found == expected


def test_an_empty_listing() -> None:
    order = RowOrder(np.empty(0, np.int64), NO_IDS, False, NO_IDS, np.zeros((1, WIDTH), np.uint8))
    rows, more = first_rows(order, no_point(WIDTH), 10)
    assert len(rows) == 0
    assert not more


def test_a_long_id_is_cut_to_the_width() -> None:
    assert padded_id("abcdefghij", 4).tobytes() == b"abcd"
