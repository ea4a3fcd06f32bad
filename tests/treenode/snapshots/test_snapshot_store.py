"""The folder of snapshots: newest first, damaged ones aside, a few kept."""

from pathlib import Path

import numpy as np
import pytest

from services.treenode.snapshots.early_read import EarlyRead
from services.treenode.snapshots.state_file import write_state_to
from services.treenode.snapshots.store import ASIDE_KEPT, Snapshot, SnapshotStore


def store_in(folder: Path) -> SnapshotStore:
    return SnapshotStore(folder, kept=2, cluster="dot")


def written(
    store: SnapshotStore, import_id: int, position: int, *, cluster: str = "dot", log_id: str = "log-1"
) -> Snapshot:
    path = store.path_of(import_id, position)
    label = {"cluster": cluster, "import_id": import_id, "position": position, "log_id": log_id}
    with path.open("w+b") as file:
        write_state_to(file.fileno(), label, {"from": position}, {"a": np.arange(position)})
    return Snapshot(import_id, position, path)


def test_newest_means_import_then_position(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    old, new = written(store, 2, 900), written(store, 10, 30)
    middle = written(store, 10, 9)
    assert store.all() == [new, middle, old]
    assert store.find(0, 0) == new
    assert store.find(10, 9) == middle
    assert store.find(10, 10) is None
    found = store.load_newest()
    assert found is not None
    assert found.meta == {"from": 30}


@pytest.mark.parametrize("damage", ["flip", "tear", "empty", "other cluster", "renamed"])
def test_a_damaged_one_is_set_aside_with_the_reason_and_the_one_before_is_taken(tmp_path: Path, damage: str) -> None:
    store = store_in(tmp_path)
    written(store, 1, 10)
    newest = written(store, 1, 20, cluster="other" if damage == "other cluster" else "dot")
    data = bytearray(newest.path.read_bytes())
    if damage == "flip":
        data[-100] ^= 1
        newest.path.write_bytes(data)
    elif damage == "tear":
        newest.path.write_bytes(data[:-9])
    elif damage == "empty":
        newest.path.write_bytes(b"")
    elif damage == "renamed":
        newest.path.rename(store.path_of(1, 30))
    found = store.load_newest()
    assert found is not None
    assert found.meta == {"from": 10}
    aside = sorted(path.suffix for path in (tmp_path / "aside").iterdir())
    assert aside == [".reason", ".snapshot"]
    (reason,) = (tmp_path / "aside").glob("*.reason")
    assert reason.read_text().strip()


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    store = store_in(tmp_path / "new")
    assert store.load_newest() is None
    assert store.find(0, 0) is None


def test_few_are_kept(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for position in range(1, 6):
        written(store, 1, position)
    store.prune()
    assert [snapshot.position for snapshot in store.all()] == [5, 4]
    for position in range(10, 16):
        store.set_aside(written(store, 1, position), "test")
    assert len(list((tmp_path / "aside").glob("*.snapshot"))) == ASIDE_KEPT
    assert len(list((tmp_path / "aside").glob("*.reason"))) == ASIDE_KEPT


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_not_finished_is_removed_but_for_downloads(tmp_path: Path) -> None:
    for name in ("unfinished.part", "1-5.snapshot.part", "peer-1-5-abc.part"):
        (tmp_path / name).write_bytes(b"half")
    store_in(tmp_path)
    assert names(tmp_path) == ["peer-1-5-abc.part"]


def test_one_download_is_kept_and_only_as_long_as_it_may_be_needed(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    first = store.incoming(1, 5, b"\x01" * 32)
    first.write_bytes(b"half")
    assert store.incoming(1, 5, b"\x01" * 32) == first
    assert first.exists()
    second = store.incoming(1, 6, b"\x02" * 32)
    second.write_bytes(b"half")
    assert not first.exists()
    store.prune()
    assert second.exists()  # it is under way
    written(store, 1, 7)
    again = store_in(tmp_path)
    assert second.exists()  # it may go on after a restart
    again.prune()
    assert names(tmp_path) == ["1-7.snapshot"]  # there is a newer state of its own


def test_a_whole_download_takes_its_place(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    part = store.incoming(1, 5, b"\x01" * 32)
    written(store, 1, 5).path.rename(part)
    store.take(part, 1, 5)
    assert names(tmp_path) == ["1-5.snapshot"]
    assert store.load_newest() is not None
    store.discard(part)


def test_all_are_set_aside_for_a_lost_state(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    written(store, 1, 1)
    written(store, 1, 2)
    store.set_all_aside("it has taken an update that is skipped")
    assert store.all() == []


def test_those_of_another_log_are_set_aside_once_there_is_one_of_this(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    written(store, 7, 1000, log_id="old")
    written(store, 1, 2, log_id="new")
    store.set_others_aside("")
    assert names(tmp_path) == ["1-2.snapshot", "7-1000.snapshot"]
    store.set_others_aside("new")
    assert names(tmp_path) == ["1-2.snapshot", "aside"]
    assert "log old" in (tmp_path / "aside" / "7-1000.reason").read_text()


def test_what_was_begun_early_is_taken_once_and_for_the_newest_only(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    old, new = written(store, 1, 10), written(store, 1, 20)
    early = EarlyRead(tmp_path)
    assert early.take(old.path) is None
    found = store.load_newest(early.take)
    assert found is not None
    assert found.meta == {"from": 20}
    assert early.take(new.path) is None
    assert EarlyRead(tmp_path / "nowhere").take(new.path) is None


def test_a_damaged_one_that_was_begun_early_is_set_aside(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    written(store, 1, 10)
    newest = written(store, 1, 20)
    data = bytearray(newest.path.read_bytes())
    data[-100] ^= 1
    newest.path.write_bytes(data)
    found = store.load_newest(EarlyRead(tmp_path).take)
    assert found is not None
    assert found.meta == {"from": 10}
    assert not newest.path.exists()
