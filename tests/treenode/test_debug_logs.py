"""What a node writes of each update, and who hears it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from fasttree.v1 import types_pb2
from services.shared.debug.debug_log import DebugLog
from services.treenode.debug_logs import UpdateEcho
from services.treenode.tree import NotApplied


def posted(number: int, amount_hundredths: int = 1250) -> types_pb2.Update:
    change = types_pb2.VolumePosted(member_id=f"M{number}", amount_hundredths=amount_hundredths)
    return types_pb2.Update(update_id=f"O-{number}", volume_posted=change)


def bare(lines: list[str]) -> list[str]:
    return [line.partition(" ")[2] for line in lines]


async def _first(lines: AsyncIterator[str]) -> str:
    return await anext(lines)


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
