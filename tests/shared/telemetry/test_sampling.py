"""Which ones are traced: the share that was asked for, and no more a second than the bound."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.telemetry.sampling import Sampler


@pytest.mark.parametrize("ratio", [0.001, 0.01, 0.3, 0.9])
def test_the_share_is_that_of_the_setting(ratio: float) -> None:
    draw = random.Random(5)
    sampler = Sampler(ratio, 1_000_000, draw.random)
    came = chosen = 0
    while came < 1_000_000:
        count = draw.randrange(1, 1_000)
        found = list(sampler.chosen(count))
        assert found == sorted(set(found))
        assert all(0 <= number < count for number in found)
        came += count
        chosen += len(found)
    assert chosen / came == pytest.approx(ratio, rel=0.1)


@given(st.lists(st.integers(0, 50), max_size=30))
def test_all_and_none(counts: list[int]) -> None:
    everything, nothing = Sampler(1.0, 10), Sampler(0.0, 10)
    for count in counts:
        assert list(everything.chosen(count)) == list(range(count))
        assert list(nothing.chosen(count)) == []


def test_each_place_in_a_message_has_its_chance() -> None:
    sampler = Sampler(0.2, 10, random.Random(1).random)
    found = [number for _ in range(2_000) for number in sampler.chosen(3)]
    assert all(found.count(number) == pytest.approx(400, rel=0.25) for number in range(3))


def test_no_more_a_second_than_the_bound() -> None:
    sampler = Sampler(1.0, 20)
    taken = sum(sampler.may(100.0 + step / 1_000) for step in range(10_000))
    assert 200 <= taken <= 240  # ten seconds, and what may come at once
    assert sampler.limited == 10_000 - taken
    assert sampler.may(200.0)
