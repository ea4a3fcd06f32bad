"""Waits between tries: doubling up to the largest, in the upper half of their range, and back to the first."""

import pytest

from services.shared.backoff import Backoff, Waits


def test_waits_double_up_to_the_largest() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.wait_s(failures) for failures in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert backoff.wait_s(10_000) == 3.0


def test_jitter_takes_up_to_half_of_a_wait() -> None:
    draws = iter((0.0, 0.5, 1.0))
    backoff = Backoff(1.0, 1.0, lambda: next(draws))
    assert [backoff.wait_s(0) for _ in range(3)] == [0.5, 0.75, 1.0]


def test_a_success_begins_anew() -> None:
    waits = Waits(Backoff(1.0, 4.0))
    assert [waits.next_s() for _ in range(4)] == [1.0, 2.0, 4.0, 4.0]
    waits.reset()
    assert waits.next_s() == 1.0


@pytest.mark.parametrize(("initial_s", "max_s"), [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0)])
def test_waits_that_can_not_grow_are_refused(initial_s: float, max_s: float) -> None:
    with pytest.raises(ValueError, match="back-off needs"):
        Backoff(initial_s, max_s)
