"""Backups of a log: whole, as of one moment, beside a pusher that writes; brought back, and what was there kept."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.backups.backups import BackupError, back_up, restore
from services.pusher.log.inspection import verify_log
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import LogEnds, LogStoreError, StoredImport
from services.shared.files.checksums import file_sha256
from services.shared.files.state_folder import lock_folder
from tests.pusher.updates import ids_and_contents, order, orders

FILE = b"member_id,sponsor_id\nA,\n"


def quiet(what: str, done: int, whole: int) -> None:
    """Progress that nobody looks at."""


def filled(folder: Path, count: int = 3000) -> SqliteLog:
    folder.mkdir(exist_ok=True)
    store = SqliteLog(folder).claim_alone()
    for begin in range(0, count, 500):
        store.append(*ids_and_contents(orders(begin, 500)))
    (folder / "imports").mkdir(exist_ok=True)
    path = folder / "imports" / "000001-members.csv"
    path.write_bytes(FILE)
    manifest = types_pb2.ImportManifest(import_id=1, file_name="members.csv", sha256=file_sha256(path))
    status = pusher_pb2.ImportStatus(manifest=manifest, state=pusher_pb2.IMPORT_STATE_DONE)
    store.save_import(StoredImport(status, taken=True))
    return store


def test_a_backup_beside_a_log_that_grows_holds_one_moment_of_it(tmp_path: Path) -> None:
    store = filled(tmp_path / "pusher")
    ended = threading.Event()

    def push() -> None:
        number = 3000
        while not ended.is_set():
            store.append(*ids_and_contents(orders(number, 100)))
            number += 100

    pushing = threading.Thread(target=push)
    pushing.start()
    steps: list[tuple[str, int, int]] = []
    try:
        copied = back_up(tmp_path / "pusher", tmp_path / "backup", lambda *step: steps.append(step))
    finally:
        ended.set()
        pushing.join()
    last = store.ends().last
    store.close()
    assert 3000 <= copied.log.last_position <= last
    assert sorted(path.name for path in (tmp_path / "backup").iterdir()) == ["imports", "log.db"]
    found = verify_log(tmp_path / "backup")
    assert (found.records, found.problems) == (copied.log.last_position, [])
    assert copied.imports == ("000001-members.csv",)
    assert steps[-1][1] == steps[-1][2] > 0


def test_what_was_pushed_after_the_backup_is_gone_and_what_lay_there_is_kept(tmp_path: Path) -> None:
    folder, backup = tmp_path / "pusher", tmp_path / "backup"
    store = filled(folder)
    back_up(folder, backup, quiet)
    store.append(*ids_and_contents(orders(9000, 7)))
    log_id = store.log_id
    store.close()
    (folder / "imports" / "000001-members.csv").unlink()
    copied = restore(backup, folder, quiet)
    assert (copied.log.last_position, copied.imports) == (3000, ("000001-members.csv",))
    assert (folder / "imports" / "000001-members.csv").read_bytes() == FILE
    assert copied.moved_to == folder / "replaced-1"
    again = SqliteLog(folder).claim_alone()
    assert (again.log_id, again.ends(), again.vouched_for) == (log_id, LogEnds(1, 3000), False)
    assert again.append(*ids_and_contents([order(17)])).duplicates == {0}
    assert again.imports()[0].taken
    again.close()
    before = SqliteLog(folder / "replaced-1").claim_alone()
    assert (before.ends(), before.vouched_for) == (LogEnds(1, 3007), True)
    before.close()
    assert restore(backup, folder, quiet).moved_to == folder / "replaced-2"


def test_ids_of_trimmed_records_come_back_too(tmp_path: Path) -> None:
    store = filled(tmp_path / "pusher")
    store.trim(1001, 5000)
    store.trim(2001, 5000)
    back_up(tmp_path / "pusher", tmp_path / "backup", quiet)
    store.close()
    for folder in ("pusher", "new"):
        copied = restore(tmp_path / "backup", tmp_path / folder, quiet)
        assert copied.log.first_position == 2001
        again = SqliteLog(tmp_path / folder).claim_alone()
        assert len(again.append(*ids_and_contents(orders(0, 3000))).duplicates) == 3000
        again.close()
    assert sorted(path.name for path in (tmp_path / "pusher" / "replaced-1").iterdir()) == ["ids", "log.db", "log.end"]


def test_a_log_comes_back_into_an_empty_folder(tmp_path: Path) -> None:
    filled(tmp_path / "pusher", 500).close()
    back_up(tmp_path / "pusher", tmp_path / "backup", quiet)
    copied = restore(tmp_path / "backup", tmp_path / "new", quiet)
    assert (copied.moved_to, copied.log.records) == (None, 500)
    assert verify_log(tmp_path / "new").problems == []


def test_what_is_no_good_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    folder, backup = tmp_path / "pusher", tmp_path / "backup"
    filled(folder, 500).close()
    back_up(folder, backup, quiet)
    with pytest.raises(BackupError, match="not empty"):
        back_up(folder, backup, quiet)
    with pytest.raises(LogStoreError, match="there is no log"):
        back_up(tmp_path / "nowhere", tmp_path / "other", quiet)
    with lock_folder(folder), pytest.raises(BackupError, match="while its pusher is down"):
        restore(backup, folder, quiet)
    data = bytearray((backup / "log.db").read_bytes())
    data[data.index(b"order") + 2] ^= 0x10
    (backup / "log.db").write_bytes(data)
    with pytest.raises(BackupError, match="A damaged log"):
        restore(backup, folder, quiet)
    (folder / "imports" / "000001-members.csv").write_bytes(b"other")
    with pytest.raises(BackupError, match="SHA-256"):
        back_up(folder, tmp_path / "second", quiet)
    assert not (tmp_path / "second" / "log.db").exists()
    assert SqliteLog(folder).claim_alone().ends() == LogEnds(1, 500)
