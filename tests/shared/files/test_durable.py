"""Durable files: at each moment of a write the disk has the old file or the new one, and at its end the new one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.shared.files import durable
from services.shared.files.durable import (
    PART,
    link_durably,
    make_folder,
    part_of,
    remove_durably,
    remove_leftovers,
    replace_durably,
    write_at,
    write_durably,
    writing_durably,
)
from tests.shared.files.power import Disk, ForgetfulOs

OLD, NEW = b"what was there", b"what is new, and longer"


@dataclass
class Place:
    """Two folders, a file that is there and one that is to be. Both folders' names are on disk."""

    folder: Path
    other: Path

    @property
    def file(self) -> Path:
        return self.folder / "file"

    @property
    def source(self) -> Path:
        return self.other / "source"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path / "folder", tmp_path / "other")
    for folder in (found.folder, found.other):
        folder.mkdir()
    return found


def write_in_pieces(place: Place) -> None:
    with writing_durably(place.file) as descriptor:
        write_at(descriptor, NEW[9:], 9)
        write_at(descriptor, NEW[:9], 0)


#: What is done, and the file's content once it has returned; None: gone.
ACTIONS: dict[str, tuple[Callable[[Place], None], bytes | None]] = {
    "write": (lambda place: write_durably(place.file, NEW), NEW),
    "write in pieces": (write_in_pieces, NEW),
    "replace": (lambda place: replace_durably(place.source, place.file), NEW),
    "link": (lambda place: link_durably(place.source, place.file), NEW),
    "remove": (lambda place: remove_durably(place.file, place.folder / "never was"), None),
}


def begin(place: Place, old: bytes | None) -> None:
    for file in (*place.folder.iterdir(), *place.other.iterdir()):
        file.unlink()
    place.source.write_bytes(NEW)
    if old is not None:
        place.file.write_bytes(old)


def contents(disks: list[Disk], path: Path) -> set[bytes | None]:
    return {disk.get(path) for disk in disks}


@pytest.mark.parametrize("old", [OLD, None, NEW], ids=["over an old one", "where none was", "over the same"])
@pytest.mark.parametrize("name", ACTIONS)
def test_a_power_failure_leaves_old_or_new_and_the_end_is_for_good(
    place: Place, monkeypatch: pytest.MonkeyPatch, name: str, old: bytes | None
) -> None:
    action, new = ACTIONS[name]
    begin(place, old)
    power = ForgetfulOs(place.folder, place.other)
    monkeypatch.setattr(durable, "os", power)
    action(place)
    assert power.moments or (name, old) == ("remove", None)
    for moment, disks in enumerate(power.moments):
        assert contents(disks, place.file) <= {old, new}, f"before call {moment + 1}: {power.calls}"
    assert contents(power.ends(), place.file) == {new}
    assert contents(power.ends(), place.source) == {None if name == "replace" else NEW}
    assert (place.file.read_bytes() if place.file.exists() else None) == new
    assert not part_of(place.file).exists()


@pytest.mark.parametrize("name", ACTIONS)
def test_a_call_that_fails_leaves_old_or_new(place: Place, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    action, new = ACTIONS[name]
    begin(place, OLD)
    whole = ForgetfulOs(place.folder, place.other)
    monkeypatch.setattr(durable, "os", whole)
    action(place)
    seen = set()
    for number, call in enumerate(whole.calls, 1):
        begin(place, OLD)
        power = ForgetfulOs(place.folder, place.other, fails_at=number)
        monkeypatch.setattr(durable, "os", power)
        with pytest.raises(OSError, match=f"{call} failed"):
            action(place)
        now = place.file.read_bytes() if place.file.exists() else None
        assert now in (OLD, new), f"after a failed call {number} of {whole.calls}"
        seen.add(now)
        assert contents(power.ends(), place.file) <= {OLD, new}
        if name.startswith("write"):
            assert not part_of(place.file).exists()
    assert seen == {OLD, new}  # the failures were before the step and behind it


def test_the_disk_that_forgets_finds_what_is_left_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own test: a writer that leaves out an fsync, or the folder's, is caught."""

    def careless(*, fsync: bool, folder: bool) -> ForgetfulOs:
        begin(place, OLD)
        power = ForgetfulOs(place.folder, place.other)
        descriptor = power.open(part_of(place.file), os.O_RDWR | os.O_CREAT)
        while left := NEW[os.fstat(descriptor).st_size :]:
            power.write(descriptor, memoryview(left))
        if fsync:
            power.fsync(descriptor)
        os.close(descriptor)
        power.replace(part_of(place.file), place.file)
        if folder:
            monkeypatch.setattr(durable, "os", power)
            durable.sync_folder(place.folder)
        return power

    assert contents(careless(fsync=True, folder=True).ends(), place.file) == {NEW}
    assert OLD in contents(careless(fsync=True, folder=False).ends(), place.file)
    torn = careless(fsync=False, folder=True)
    assert contents(torn.ends(), place.file).isdisjoint({OLD, NEW})


def test_a_write_that_is_interrupted_leaves_nothing_beside(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(ForgetfulOs):
        def fsync(self, descriptor: int) -> None:
            raise KeyboardInterrupt

    begin(place, OLD)
    monkeypatch.setattr(durable, "os", Interrupted(place.folder))
    with pytest.raises(KeyboardInterrupt):
        write_durably(place.file, NEW)
    assert {file.name: file.read_bytes() for file in place.folder.iterdir()} == {"file": OLD}


def test_a_full_disk_keeps_the_old_file(place: Place) -> None:
    begin(place, OLD)
    part_of(place.file).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_durably(place.file, NEW)
    assert {file.name: file.read_bytes() for file in place.folder.iterdir()} == {"file": OLD}


def test_an_old_part_is_written_over(place: Place) -> None:
    begin(place, None)
    part_of(place.file).write_bytes(b"x" * 1000)
    write_durably(place.file, NEW)
    assert {file.name: file.read_bytes() for file in place.folder.iterdir()} == {"file": NEW}


def test_a_link_to_itself_stays_and_leaves_nothing_beside(place: Place) -> None:
    begin(place, None)
    link_durably(place.source, place.file)
    link_durably(place.source, place.file)
    assert [file.name for file in place.folder.iterdir()] == ["file"]
    assert place.file.samefile(place.source)


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a.part", "peer-1.part", "peer-2.part", "whole", "part", "a.part.txt"):
        (tmp_path / name).write_bytes(b"x")
    remove_leftovers(tmp_path, "peer-*" + PART, but={tmp_path / "peer-2.part"})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.part", "a.part.txt", "part", "peer-2.part", "whole"]
    remove_leftovers(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.part.txt", "part", "whole"]
    remove_leftovers(tmp_path / "nowhere")


def test_a_folders_name_is_on_disk_with_those_above_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synchronized: list[Path] = []

    def spy(folder: Path) -> None:
        assert folder.is_dir()
        synchronized.append(folder)

    monkeypatch.setattr(durable, "sync_folder", spy)
    make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert synchronized == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    synchronized.clear()
    make_folder(tmp_path / "a" / "b")
    assert synchronized == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        make_folder(tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        make_folder(tmp_path / "file" / "below")
