"""Logs of bounded size, their ends, and followers that are told what they missed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.shared.debug.broadcast import FOLLOWER_LINES_MAX, FOLLOWERS_MAX, Broadcast, TooManyFollowersError
from services.shared.debug.debug_log import LINES_MAX, DebugLog


def bare(lines: list[str]) -> list[str]:
    return [line.partition(" ")[2] for line in lines]


def test_the_file_never_grows_past_its_bound_and_the_tail_spans_both_files(tmp_path: Path) -> None:
    log = DebugLog(tmp_path / "a.log", 4096)
    for number in range(300):
        log.write([f"line {number}"])
    assert (tmp_path / "a.log").stat().st_size <= 4096
    assert (tmp_path / "a.log.1").stat().st_size <= 4096
    assert len(list(tmp_path.iterdir())) == 2
    assert bare(log.tail(100)) == [f"line {number}" for number in range(200, 300)]
    assert log.tail(0) == []
    assert len(log.tail(10 * LINES_MAX)) < 300
    log.close()
    again = DebugLog(tmp_path / "a.log", 4096)
    assert bare(again.tail(1)) == ["line 299"]
    again.close()


def test_a_line_stays_one_line_and_short(tmp_path: Path) -> None:
    log = DebugLog(tmp_path / "a.log", 4096)
    log.write(["two\nlines", "x" * 9_000])
    assert bare(log.tail(9))[0] == "two | lines"
    assert len(log.tail(9)[1]) < 600
    log.close()


async def test_a_slow_follower_loses_lines_and_is_told_how_many() -> None:
    broadcast = Broadcast()
    follower = broadcast.follow()
    first = asyncio.ensure_future(_first(follower))
    await asyncio.sleep(0)
    assert broadcast.heard
    for number in range(FOLLOWER_LINES_MAX + 500):
        broadcast.tell(f"{number}")
    assert await first == "0"
    for _ in range(100):
        await anext(follower)
    broadcast.tell("late")
    lines = [await anext(follower) for _ in range(FOLLOWER_LINES_MAX - 100)]
    assert lines[-1] == "late"
    assert lines[-2].endswith("lines skipped")


async def _first(lines: AsyncIterator[str]) -> str:
    return await anext(lines)


async def test_followers_are_counted() -> None:
    broadcast = Broadcast()
    waits = [asyncio.ensure_future(_first(broadcast.follow())) for _ in range(FOLLOWERS_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyFollowersError):
        await anext(broadcast.follow())
    broadcast.tell("x")
    assert await asyncio.gather(*waits) == ["x"] * FOLLOWERS_MAX
