"""Ages of records by running time: whatever the wall clock does, nothing is trimmed early, and trimming goes on."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from services.pusher.log.sqlite import SqliteLog
from tests.fakes.clock import TurnedClock
from tests.pusher.updates import ids_and_contents, orders

DAY_S = 86_400.0
YEAR_S = 365 * DAY_S
KEPT_S = 30 * DAY_S
PUSH_EVERY_S = 6 * 3_600.0


class WallClock:
    """The machine's wall clock: the right time, and how far it is off."""

    def __init__(self, right: TurnedClock) -> None:
        self._right = right
        self.off_s = 0.0

    def now_s(self) -> float:
        return 1.8e9 + self._right.now_s() + self.off_s


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def wall(clock: TurnedClock, monkeypatch: pytest.MonkeyPatch) -> WallClock:
    wall = WallClock(clock)
    monkeypatch.setattr(time, "time", wall.now_s)
    return wall


def push(store: SqliteLog, number: int) -> None:
    store.append(*ids_and_contents(orders(number, 1)))


def push_for(store: SqliteLog, clock: TurnedClock, first: int, days: int) -> int:
    """A push every six hours; the number of the next one."""
    for number in range(first, first + 4 * days):
        push(store, number)
        clock.turn(PUSH_EVERY_S)
    return first + 4 * days


@pytest.mark.parametrize(
    ("off_s", "for_s"), [(10 * YEAR_S, 0.0), (40 * DAY_S, 120.0), (-10 * YEAR_S, 120.0), (40 * DAY_S, 90 * DAY_S)]
)
def test_a_step_of_the_wall_clock_neither_trims_early_nor_stops_trimming(
    tmp_path: Path, clock: TurnedClock, wall: WallClock, off_s: float, for_s: float
) -> None:
    store = SqliteLog(tmp_path, monotonic=clock.now_s).claim_alone()
    following = push_for(store, clock, 0, days=10)
    wall.off_s = off_s
    push(store, following)
    clock.turn(min(for_s, 120.0))
    assert store.position_older_than(KEPT_S) == 0
    if for_s <= 120.0:
        wall.off_s = 0.0
    push_for(store, clock, following + 1, days=40)
    store.keep_time()
    # 50 days have passed: what came in the first 20 of them is old, and nothing else.
    assert 4 * 19 <= store.position_older_than(KEPT_S) <= 4 * 20 + 2
    store.close()


def test_ages_go_on_after_a_restart_and_the_time_between_does_not_count(
    tmp_path: Path, clock: TurnedClock, wall: WallClock
) -> None:
    store = SqliteLog(tmp_path, monotonic=clock.now_s).claim_alone()
    push_for(store, clock, 0, days=20)
    clock.turn(5 * DAY_S)
    store.keep_time()
    store.close()
    wall.off_s = 40 * DAY_S  # the machine comes back with a wrong clock, and another monotonic one
    later = TurnedClock(3.0)
    again = SqliteLog(tmp_path, monotonic=later.now_s).claim_alone()
    assert again.position_older_than(KEPT_S) == 0
    later.turn(10 * DAY_S)
    assert 4 * 4 <= again.position_older_than(KEPT_S) <= 4 * 5 + 1
    again.close()


def test_marks_of_a_jumped_clock_in_an_older_log_do_not_make_the_others_old(tmp_path: Path, clock: TurnedClock) -> None:
    SqliteLog(tmp_path).claim_alone().close()
    database = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    for position, stored_at in ((1, time.time() - DAY_S), (2, time.time() + 10 * YEAR_S), (3, time.time() - 60.0)):
        frame = ids_and_contents(orders(position, 1))[1][0]
        database.execute("INSERT INTO log VALUES (?, ?, ?)", (position, f"id-{position}", frame))
        database.execute("INSERT INTO time_marks VALUES (?, ?)", (position, stored_at))
    database.execute("PRAGMA user_version = 1")
    database.close()
    store = SqliteLog(tmp_path, monotonic=clock.now_s).claim_alone()
    assert store.position_older_than(2 * DAY_S) == 0
    clock.turn(DAY_S + 3_600.0)
    assert store.position_older_than(2 * DAY_S) == 1
    store.close()
