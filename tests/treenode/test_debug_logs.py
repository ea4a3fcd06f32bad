"""Debug logs: bounded files, tails, followers that are told what they missed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fasttree.v1 import types_pb2
from services.treenode.debug_logs import (
    FOLLOWER_LINES_MAX,
    FOLLOWERS_MAX,
    LINES_MAX,
    Broadcast,
    DebugLog,
    TooManyFollowersError,
    UpdateEcho,
)
from services.treenode.tree import NotApplied


def posted(number: int, amount_hundredths: int = 1250) -> types_pb2.Update:
    change = types_pb2.VolumePosted(member_id=f"M{number}", amount_hundredths=amount_hundredths)
    return types_pb2.Update(update_id=f"O-{number}", volume_posted=change)


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


def test_updates_are_logged_some_a_second_and_the_rest_counted(tmp_path: Path) -> None:
    log = DebugLog(tmp_path / "hpushup.log", 1_000_000)
    echo = UpdateEcho(log, lines_per_s=3)
    echo.applied(10.0, 1, [posted(number) for number in range(2)], [])
    echo.applied(10.5, 3, [posted(number) for number in range(2, 7)], [])
    echo.applied(11.0, 8, [posted(7, -5)], [NotApplied(8, "O-7", types_pb2.OUTCOME_HELD, "no member M7", "M7")])
    assert bare(log.tail(100)) == [
        "1 O-0 volume M0 +12.50 applied",
        "2 O-1 volume M1 +12.50 applied",
        "3 O-2 volume M2 +12.50 applied",
        "… 4 more updates",
        "8 O-7 volume M7 -0.05 held: no member M7",
    ]
    log.close()


async def test_each_update_is_echoed_to_whoever_listens(tmp_path: Path) -> None:
    log = DebugLog(tmp_path / "hpushup.log", 1_000_000)
    echo = UpdateEcho(log, lines_per_s=0)
    follower = echo.echo.follow()
    first = asyncio.ensure_future(_first(follower))
    await asyncio.sleep(0)
    changes = [
        types_pb2.Update(update_id="a", member_enrolled=types_pb2.MemberEnrolled(member_id="A")),
        types_pb2.Update(update_id="b", member_changed=types_pb2.MemberChanged(member_id="A")),
        types_pb2.Update(update_id="c", member_moved=types_pb2.MemberMoved(member_id="A", new_parent_id="B")),
        types_pb2.Update(update_id="d", member_removed=types_pb2.MemberRemoved(member_id="A")),
    ]
    echo.applied(1.0, 5, changes, [])
    assert await first == "5 a enrolled A sponsor - applied"
    assert [await anext(follower) for _ in range(3)] == [
        "6 b changed A applied",
        "7 c moved A to B applied",
        "8 d removed A applied",
    ]
    log.close()
