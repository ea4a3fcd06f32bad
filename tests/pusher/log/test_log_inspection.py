"""Verifying and showing a log file from outside."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from services.pusher.log.inspection import dump_log, verify_log
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import LogStoreError
from services.shared.wire.record import RecordDamagedError
from tests.pusher.updates import ids_and_contents, order, orders


@pytest.fixture
def log(tmp_path: Path) -> SqliteLog:
    store = SqliteLog(tmp_path).claim_alone()
    store.append(*ids_and_contents(orders(0, 2500)))
    return store


def change(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / "log.db", isolation_level=None)
    connection.execute(statement)
    connection.close()


def test_a_good_log_is_found_good_while_it_is_in_use(log: SqliteLog, tmp_path: Path) -> None:
    found = verify_log(tmp_path)
    assert found.problems == []
    assert (found.first_position, found.last_position, found.records) == (1, 2500, 2500)
    assert found.log_id == log.log_id
    log.close()


def test_every_damaged_record_is_named_and_the_rest_is_still_looked_at(log: SqliteLog, tmp_path: Path) -> None:
    log.close()
    change(tmp_path, "UPDATE log SET frame = zeroblob(length(frame)) WHERE position IN (7, 2001)")
    change(tmp_path, "DELETE FROM log WHERE position = 1500")
    change(tmp_path, "UPDATE log SET update_id = 'another' WHERE position = 900")
    found = verify_log(tmp_path / "log.db")
    assert found.records == 2496
    assert [problem.split(" is ")[0] for problem in found.problems] == [
        f"log record at position {position}" for position in (7, 900, 1500, 2001)
    ]


def test_a_lost_end_is_found(log: SqliteLog, tmp_path: Path) -> None:
    log.close()
    change(tmp_path, "DELETE FROM log WHERE position > 2490")
    assert verify_log(tmp_path).problems == ["the log ends at 2490, but 2500 was acknowledged"]


def test_dumps_what_was_pushed(log: SqliteLog, tmp_path: Path) -> None:
    log.close()
    assert [position for position, _ in dump_log(tmp_path)] == list(range(1, 2501))
    assert list(dump_log(tmp_path, 10, 11)) == [(10, order(9)), (11, order(10))]
    assert list(dump_log(tmp_path, 3000)) == []


def test_a_dump_stops_at_a_damaged_record(log: SqliteLog, tmp_path: Path) -> None:
    log.close()
    change(tmp_path, "DELETE FROM log WHERE position = 5")
    seen = []
    with pytest.raises(RecordDamagedError, match="position 5 is missing"):
        for position, _ in dump_log(tmp_path):
            seen.append(position)
    assert seen == [1, 2, 3, 4]


def test_a_folder_without_a_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(LogStoreError, match="there is no log"):
        verify_log(tmp_path)
