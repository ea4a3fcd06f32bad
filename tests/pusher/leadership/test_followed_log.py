"""What a pusher that stood by knows of the log that it takes: whether it has to ask the nodes first."""

from __future__ import annotations

from typing import Any

import pytest

from services.pusher.leadership.standby import FollowedLog
from services.pusher.log.memory import MemoryLog
from services.shared.domain.updates import OWN_ID_PREFIX
from tests.pusher.updates import ids_and_contents, order, orders


@pytest.fixture
def log() -> MemoryLog:
    made = MemoryLog()
    made.claim(1, "the active one")
    made.append(*ids_and_contents(orders(0, 10)))
    return made


def followed(log: MemoryLog) -> FollowedLog:
    unused: Any = None
    made = FollowedLog(lambda: log, unused, 1.0)
    made._read_on()
    return made


async def test_an_update_that_came_while_it_stood_by_vouches_for_the_log(log: MemoryLog) -> None:
    standby = followed(log)
    log.append(*ids_and_contents([order(10)]))
    standby._read_on()
    await standby.claim(2, "this one")
    assert log.vouched_for


async def test_what_was_there_before_does_not(log: MemoryLog) -> None:
    standby = followed(log)
    standby._read_on()
    await standby.claim(2, "this one")
    assert not log.vouched_for


async def test_what_a_pusher_wrote_by_itself_does_not(log: MemoryLog) -> None:
    standby = followed(log)
    log.append([f"{OWN_ID_PREFIX}rule-version-2"], ids_and_contents([order(10)])[1])
    standby._read_on()
    await standby.claim(2, "this one")
    assert not log.vouched_for


@pytest.mark.parametrize("other", [("", 5), ("another log", 0)], ids=["shorter", "another"])
async def test_a_log_that_lost_its_end_or_is_another_one_is_not_the_one_that_was_seen(
    log: MemoryLog, other: tuple[str, int]
) -> None:
    standby = followed(log)
    log.append(*ids_and_contents([order(10)]))
    standby._read_on()
    assert standby._seen == (log.log_id, 11)
    standby._seen = (other[0] or log.log_id, 11 + other[1])
    await standby.claim(2, "this one")
    assert not log.vouched_for
