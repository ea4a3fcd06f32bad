"""The wall clock is believed only once it has kept step with the monotonic clock for a while."""

from __future__ import annotations

import pytest

from services.shared.clock import RunningTime, SettledWallClock

DAY_S = 86_400.0
START_S = 1.8e9


def told(clock: SettledWallClock, first_s: float, last_s: float, off_s: float = 0.0) -> float | None:
    """Tells both clocks every 5 s, the wall clock off by so much; what is believed in the end."""
    believed: float | None = None
    at_s = first_s
    while at_s <= last_s:
        believed = clock.note(START_S + at_s + off_s, at_s)
        at_s += 5.0
    return believed


def test_nothing_is_believed_before_the_clock_has_settled() -> None:
    clock = SettledWallClock()
    assert told(clock, 0.0, 595.0) is None
    assert told(clock, 600.0, 600.0) == START_S + 600.0


@pytest.mark.parametrize(("off_s", "for_s"), [(3_650 * DAY_S, 5.0), (40 * DAY_S, 120.0), (-40 * DAY_S, 590.0)])
def test_a_step_that_is_taken_back_is_never_followed(off_s: float, for_s: float) -> None:
    clock = SettledWallClock()
    told(clock, 0.0, 1_000.0)
    assert told(clock, 1_005.0, 1_000.0 + for_s, off_s) == pytest.approx(START_S + 1_000.0 + for_s, abs=5.0)
    assert told(clock, 1_005.0 + for_s, 5_000.0) == pytest.approx(START_S + 5_000.0, abs=5.0)


def test_a_step_that_lasts_is_followed() -> None:
    clock = SettledWallClock()
    told(clock, 0.0, 1_000.0)
    assert told(clock, 1_005.0, 1_600.0, 3_600.0) == pytest.approx(START_S + 1_600.0)
    assert told(clock, 1_605.0, 1_610.0, 3_600.0) == pytest.approx(START_S + 3_600.0 + 1_610.0)


def test_a_clock_that_is_slewed_stays_believed() -> None:
    clock = SettledWallClock()
    told(clock, 0.0, 1_000.0)
    believed: float | None = None
    for number in range(1, 2_000):
        at_s = 1_000.0 + 5.0 * number
        believed = clock.note(START_S + at_s + 0.0025 * number, at_s)
    assert believed == pytest.approx(START_S + at_s + 0.0025 * number)


def test_running_time_goes_on_from_what_was_kept() -> None:
    monotonic_s = [50.0]
    running = RunningTime(1_000.0, lambda: monotonic_s[0])
    assert running.now_s() == 1_000.0
    monotonic_s[0] = 60.0
    assert running.now_s() == 1_010.0
