"""A log whose records are sealed: nothing of them is in its files, every duty of a log holds, and a missing key is no
damage."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.pusher.backups.backups import back_up, restore
from services.pusher.log import damage
from services.pusher.log.damage import LogCheck
from services.pusher.log.errors import error_of
from services.pusher.log.group_commit import AppendProblem, NotStored, Push, not_stored
from services.pusher.log.inspection import dump_log, seals_in, unopened_records, verify_log
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import LogDamagedError, LogEnds, LogSealedError
from services.pusher.opening import open_store
from services.pusher.settings import PusherSettings
from services.shared.files.sealed.keys import Keys
from services.shared.files.sealed.own import keys_for_now
from tests.pusher.updates import ids_and_contents, order, orders
from tests.shared.files.sealed.own_keys import keys
from tests.waiting import until


def in_files(folder: Path, text: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def test_records_of_every_key_are_read_and_nothing_of_them_is_in_the_files(tmp_path: Path) -> None:
    ids, contents = ids_and_contents(orders(0, 30))
    with keys_for_now(None):
        store = SqliteLog(tmp_path).claim_alone()
        store.append(ids[:10], contents[:10])
    with keys_for_now(keys("one")):
        store.append(ids[10:20], contents[10:20])
        assert store.append(ids[5:15], contents[5:15]).duplicates == set(range(10))
    with keys_for_now(keys("two", "one")):
        run = store.append(ids[20:], contents[20:]).run
        assert run is not None
        assert store.read(21, 30, 1 << 20).data == run.data
        assert [store.read(position, position, 1).first_position for position in (1, 11, 21)] == [1, 11, 21]
        assert len(store.read(1, 30, 1 << 20).ends) == 30
        assert store.append([ids[25]], [contents[26]]).conflicts == {0: 26}
        store.close()
        assert [position for position, _ in dump_log(tmp_path)] == list(range(1, 31))
        found = verify_log(tmp_path)
        assert (found.problems, found.records) == ([], 30)
    assert seals_in(tmp_path) == {"": 10, "one": 10, "two": 10}
    assert unopened_records(tmp_path, keys("two")) == {"one"}
    assert in_files(tmp_path, contents[5][2:])  # it was there before there were keys
    assert not in_files(tmp_path, contents[20][2:])


def test_what_was_trimmed_is_known_by_what_it_was(tmp_path: Path) -> None:
    ids, contents = ids_and_contents(orders(0, 20))
    with keys_for_now(keys()):
        store = SqliteLog(tmp_path).claim_alone()
        store.append(ids, contents)
        assert store.trim(11, 100) == 10
        again = store.append([ids[3], ids[4]], [contents[3], contents[5]])
        assert (set(again.duplicates), again.conflicts) == ({0}, {1: 5})
        store.close()


def test_a_changed_record_is_damage_at_its_position(tmp_path: Path) -> None:
    with keys_for_now(keys()):
        store = SqliteLog(tmp_path).claim_alone()
        store.append(*ids_and_contents(orders(0, 5)))
        store._writer.connection.execute(  # as whoever may write the file can
            "UPDATE log SET frame = (SELECT frame FROM log WHERE position = 2) WHERE position = 3"
        )
        with pytest.raises(LogDamagedError, match="record at position 3 is damaged"):
            store.read(1, 5, 1 << 20)
        assert len(store.read(4, 5, 1 << 20).ends) == 2
        store.close()


@pytest.mark.parametrize("known", [None, keys("two"), keys(secret=b"t")], ids=["none", "lacking", "another"])
def test_without_the_right_key_nothing_is_opened_and_nothing_changes(tmp_path: Path, known: Keys | None) -> None:
    settings = PusherSettings.of(state_folder=str(tmp_path))
    with keys_for_now(keys()):
        store = open_store(settings, "dot").claim_alone()
        store.append(*ids_and_contents(orders(0, 5)))
        store.close()
    with keys_for_now(known), pytest.raises(LogSealedError, match=r"key one.*sealing\.key_file"):
        open_store(settings, "dot")
    with keys_for_now(keys()):
        store = open_store(settings, "dot").claim_alone()
        assert store.ends() == LogEnds(1, 5)
        assert list(store.append(*ids_and_contents([order(99)])).positions) == [6]
        store.close()


def three_parts(folder: Path) -> SqliteLog:
    """A log whose ends are clear, and what stands between them is sealed."""
    ids, contents = ids_and_contents(orders(0, 30))
    store = SqliteLog(folder).claim_alone()
    for first, known in ((0, None), (10, keys("one")), (20, None)):
        with keys_for_now(known):
            store.append(ids[first : first + 10], contents[first : first + 10])
    return store


@pytest.mark.parametrize("known", [None, keys("two"), keys(secret=b"t")], ids=["none", "lacking", "another"])
def test_a_record_within_the_log_whose_key_is_not_here_is_no_damage(tmp_path: Path, known: Keys | None) -> None:
    store = three_parts(tmp_path)
    with keys_for_now(known):
        for first in (1, 11, 20):
            with pytest.raises(LogSealedError, match=r"log record at position \d+ is sealed by"):
                store.read(first, 30, 1 << 20)
        assert [len(store.read(first, first + 9, 1 << 20).ends) for first in (1, 21)] == [10, 10]
        ids, contents = ids_and_contents(orders(0, 30))
        with pytest.raises(LogSealedError) as refused:
            store.append([ids[12]], [contents[12]])  # whether it is the same nobody can say
        assert list(store.append(*ids_and_contents([order(99)])).positions) == [31]
        with pytest.raises(LogSealedError):
            verify_log(tmp_path)
        assert store.damage.count(1) == 0
    assert error_of(refused.value, "it").reason == "LOG_SEALED"
    (told,) = not_stored([Push(1, ["id"], [b""])], refused.value)
    assert isinstance(told[1], NotStored)
    assert told[1].problem is AppendProblem.DAMAGED  # the push alone is refused: the pusher goes on
    with keys_for_now(keys("one")):
        assert len(store.read(1, 30, 1 << 20).ends) == 30
    store.close()


async def test_a_key_that_is_missing_within_the_log_is_told_and_keeps_no_damage_behind_it_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "_PASSED_OVER", 10)
    store = three_parts(tmp_path)
    store._writer.connection.execute(
        "UPDATE log SET frame = (SELECT frame FROM log WHERE position = 26) WHERE position = 25"
    )
    with keys_for_now(None):
        looking = asyncio.create_task(LogCheck(store, piece_pause_s=0.0, round_pause_s=0.0).run())
        try:
            await until(lambda: store.damage.count(1) == 1, "the damage behind it")
            assert store.damage.in_words(1).startswith(
                "not all of the log can be read: log record at position 11 is sealed by key one, and no keys are "
                "named: set sealing.key_file to the file with it; the log is damaged: log record at position 25 is "
            )
            with keys_for_now(keys("one")):
                await until(lambda: not store.damage.sealed, "the key is back")
            assert store.damage.in_words(1).startswith("the log is damaged: log record at position 25")
        finally:
            looking.cancel()
    store.close()


def test_keys_that_seal_no_more_lead_back_to_a_clear_log(tmp_path: Path) -> None:
    ids, contents = ids_and_contents(orders(0, 20))
    store = SqliteLog(tmp_path).claim_alone()
    with keys_for_now(keys()):
        store.append(ids[:10], contents[:10])
    store.append(ids[10:], contents[10:])
    assert seals_in(tmp_path) == {"one": 10, "": 10}
    with keys_for_now(keys()):
        assert store.trim(11, 100) == 10
    assert seals_in(tmp_path) == {"": 10}
    store.close()
    with keys_for_now(None):
        again = open_store(PusherSettings.of(state_folder=str(tmp_path)), "dot").claim_alone()
        assert again.append(ids, contents).duplicates == set(range(20))
        again.close()


def test_a_backup_is_sealed_as_the_log_is(tmp_path: Path) -> None:
    ids, contents = ids_and_contents(orders(0, 20))
    with keys_for_now(keys()):
        (tmp_path / "a").mkdir()
        store = SqliteLog(tmp_path / "a").claim_alone()
        store.append(ids, contents)
        store.close()
        back_up(tmp_path / "a", tmp_path / "backup", lambda what, done, of: None)
    assert not in_files(tmp_path / "backup", contents[7][2:])
    (tmp_path / "b").mkdir()
    with keys_for_now(None), pytest.raises(LogSealedError, match="no keys are named"):
        restore(tmp_path / "backup", tmp_path / "b", lambda what, done, of: None)
    with keys_for_now(keys()):
        restore(tmp_path / "backup", tmp_path / "b", lambda what, done, of: None)
        store = SqliteLog(tmp_path / "b").claim_alone()
        assert store.append(ids, contents).duplicates == set(range(20))
        store.close()
