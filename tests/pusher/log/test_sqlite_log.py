"""What only a log on a disk can suffer: restarts, a full disk, flipped bytes, a lost end."""

from __future__ import annotations

import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.pusher.log.fencing.fence import Fence
from services.pusher.log.settings import LogSettings
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import DeposedError, LogDamagedError, LogEnds, StoreFullError
from tests.pusher.updates import ids_and_contents, order, orders


def filled(folder: Path, count: int = 3000) -> SqliteLog:
    store = SqliteLog(folder).claim_alone()
    for begin in range(0, count, 500):
        store.append(*ids_and_contents(orders(begin, 500)))
    return store


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    first = filled(tmp_path)
    log_id = first.log_id
    first.close()
    second = SqliteLog(tmp_path).claim_alone()
    assert second.log_id == log_id
    assert second.ends() == LogEnds(1, 3000)
    assert second.append(*ids_and_contents([order(17)])).duplicates == {0}
    assert list(second.append(*ids_and_contents([order(99_999)])).positions) == [3001]
    second.close()


def test_a_copy_taken_while_it_runs_holds_what_was_returned(tmp_path: Path) -> None:
    """Copies of the files without a close: what a crash leaves behind."""
    (tmp_path / "a").mkdir()
    store = filled(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    copy = SqliteLog(tmp_path / "b").claim_alone()
    assert copy.ends() == store.ends()
    copy.close()
    store.close()


def test_a_full_disk_stores_nothing_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    store = SqliteLog(tmp_path, LogSettings(log_pages_max=40)).claim_alone()
    taken = 0
    with pytest.raises(StoreFullError, match="make room"):
        for begin in range(0, 100_000, 100):
            store.append(*ids_and_contents(orders(begin, 100)))
            taken += 100
    assert taken > 0
    assert store.ends() == LogEnds(1, taken)
    with pytest.raises(StoreFullError):
        store.append(*ids_and_contents(orders(taken, 100)))
    with pytest.raises(StoreFullError, match="make room"):
        store.try_room()
    store.close()
    roomy = SqliteLog(tmp_path).claim_alone()
    assert roomy.ends() == LogEnds(1, taken)
    roomy.try_room()
    roomy.try_room()
    assert roomy.ends() == LogEnds(1, taken)
    assert list(roomy.append(*ids_and_contents(orders(taken, 100))).positions) == list(range(taken + 1, taken + 101))
    roomy.close()


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """No file grows beyond what the log's WAL has now, which so takes nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((folder / "log.db-wal").stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_no_hindrance_to_the_claim_of_who_had_the_log(tmp_path: Path) -> None:
    """A pusher that starts again on a full disk has to serve what it has; its claim is written with its first write."""
    before, now, later = (SqliteLog(tmp_path) for _ in range(3))
    before.claim(3, "a")
    before.append(*ids_and_contents(orders(0, 10)))
    with full_disk(tmp_path):
        now.claim(3, "a")
        later.claim(3, "a")
        with pytest.raises(StoreFullError):
            now.append(*ids_and_contents(orders(10, 1)))
        assert now.append(*ids_and_contents(orders(3, 1))).duplicates == {0}
        assert now.fence() == Fence(3, "a", 1)
        with pytest.raises(StoreFullError):
            before.claim(4, "a")  # nobody else would know of it
    assert list(now.append(*ids_and_contents(orders(10, 1))).positions) == [11]
    assert now.fence() == Fence(3, "a", 2)
    for late in (before, later):
        with pytest.raises(DeposedError):
            late.append(*ids_and_contents(orders(20, 1)))
    assert now.ends() == LogEnds(1, 11)
    for store in (before, now, later):
        store.close()


def damage(folder: Path, needle: bytes, offset: int) -> None:
    """Flips a bit of the file, `offset` bytes behind the only place where `needle` stands in a frame."""
    path = folder / "log.db"
    data = bytearray(path.read_bytes())
    at = data.rindex(needle)
    data[at + offset] ^= 0x10
    path.write_bytes(data)


def test_a_flipped_byte_is_found_and_its_position_named(tmp_path: Path) -> None:
    filled(tmp_path).close()
    frame_of_1234 = SqliteLog(tmp_path).claim_alone()
    content = frame_of_1234.read(1234, 1234, 1).data
    frame_of_1234.close()
    damage(tmp_path, content, len(content) - 8)
    store = SqliteLog(tmp_path).claim_alone()
    assert store.read(1, 1233, 1 << 20).first_position == 1
    with pytest.raises(LogDamagedError, match="position 1234"):
        store.read(1000, 3000, 1 << 20)
    with pytest.raises(LogDamagedError, match="position 1234"):
        store.append(*ids_and_contents([order(1233)]))
    assert store.read(1235, 3000, 1 << 20).first_position == 1235
    store.close()


def test_every_flipped_byte_of_a_record_is_an_error_never_another_update(tmp_path: Path) -> None:
    filled(tmp_path, 500).close()
    probe = SqliteLog(tmp_path).claim_alone()
    content = probe.read(250, 250, 1).data
    probe.close()
    whole = (tmp_path / "log.db").read_bytes()
    for offset in range(len(content)):
        (tmp_path / "log.db").write_bytes(whole)
        damage(tmp_path, content, offset)
        store = SqliteLog(tmp_path).claim_alone()
        with pytest.raises(LogDamagedError, match="position 250"):
            store.read(240, 260, 1 << 20)
        store.close()


def test_a_record_that_is_gone_is_found(tmp_path: Path) -> None:
    store = filled(tmp_path)
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("DELETE FROM log WHERE position = 77")
    other.close()
    with pytest.raises(LogDamagedError, match="position 77 is missing"):
        store.read(1, 100, 1 << 20)
    store.close()


def test_a_log_that_lost_its_end_is_not_opened(tmp_path: Path) -> None:
    """SQLite itself passes over a damaged WAL in silence: the updates in it would be gone."""
    (tmp_path / "a").mkdir()
    store = filled(tmp_path / "a", 500)
    store.append(*ids_and_contents(orders(500, 1)))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    store.close()
    wal = tmp_path / "b" / "log.db-wal"
    data = bytearray(wal.read_bytes())
    data[-2000] ^= 0x10
    wal.write_bytes(data)
    with pytest.raises(LogDamagedError, match="501 was acknowledged"):
        SqliteLog(tmp_path / "b").claim_alone()


def test_a_log_that_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    filled(tmp_path, 500).close()
    (tmp_path / "log.db").unlink()
    with pytest.raises(LogDamagedError, match="updates up to 500 were acknowledged"):
        SqliteLog(tmp_path).claim_alone()


@pytest.mark.parametrize("version", [0, 2])
def test_an_sqlite_file_of_something_else_is_told_and_left_as_it_is(tmp_path: Path, version: int) -> None:
    other = sqlite3.connect(tmp_path / "log.db")
    other.executescript(f"CREATE TABLE invoices (number); PRAGMA user_version = {version};")
    other.close()
    with pytest.raises(LogDamagedError, match="is no log but an SQLite file of something else"):
        SqliteLog(tmp_path).claim_alone()
    other = sqlite3.connect(tmp_path / "log.db")
    assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("invoices",)]
    other.close()


def test_a_file_that_is_no_log_is_told(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"no database at all, but long enough to be looked at " * 100)
    with pytest.raises(LogDamagedError, match=r"log\.db"):
        SqliteLog(tmp_path).claim_alone()
