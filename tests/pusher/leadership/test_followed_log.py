"""What a pusher that stood by knows of the log that it takes: whether it has to ask the nodes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.pusher.leadership.standby import FollowedLog
from services.pusher.log.memory import MemoryLog
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import LogSealedError
from services.shared.domain.updates import OWN_ID_PREFIX
from services.shared.files.sealed.own import keys_for_now
from tests.pusher.updates import ids_and_contents, order, orders
from tests.shared.files.sealed.own_keys import keys


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


def test_one_that_lacks_a_key_says_so_and_reads_on_once_it_is_there(tmp_path: Path) -> None:
    """A new key comes to whoever stands by a moment after the active one seals by it."""
    unused: Any = None
    standby = FollowedLog(lambda: SqliteLog(tmp_path), unused, 1.0)
    with keys_for_now(keys("two", "one")):
        active = SqliteLog(tmp_path).claim_alone()
        active.append(*ids_and_contents(orders(0, 10)))
        with keys_for_now(keys("one")), pytest.raises(LogSealedError, match="sealed by key two, which is not in"):
            standby._read_on()
        standby._read_on()
        assert standby.position == 10
        active.close()
        assert standby._store is not None
        standby._store.close()
