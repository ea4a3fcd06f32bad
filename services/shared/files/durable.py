"""Files that last: the old one or the new one, whole, and the new one for good once the call has returned.

A file's bytes are on disk after its own fsync, its name after that of its folder; a rename puts one file in another's
place in one step. Hence the one way: write to `NAME.part`, fsync, rename, fsync the folder. A power failure at any
moment leaves what was there before, or what is new, and perhaps a `.part`, which `remove_leftovers` takes away at the
next start.

Every function here waits for the disk: call it in a thread, never on an event loop. Each raises OSError where the disk
fails. Nothing else in the services writes, renames or removes a file, but for the few that
`tests/shared/files/test_writers.py` lists with their reasons.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

#: What a file that is not whole yet is called, behind its name.
PART = ".part"


def part_of(path: Path) -> Path:
    """Where a file is written before it takes its place."""
    return path.with_name(path.name + PART)


def open_new(path: Path) -> int:
    """A descriptor of a new, empty file, to read and to write; a file of that name is emptied."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Writes all of it, at that place of a file."""
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written


@contextlib.contextmanager
def writing_durably(path: Path) -> Iterator[int]:
    """A descriptor of a new file, to read and to write, that takes its place once the body has ended: whole, and for
    good. Where the body fails, or the disk, nothing of it is left. One writer of a path at a time."""
    part = part_of(path)
    try:
        with _new_file(part) as descriptor:
            yield descriptor
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[int]:
    """A descriptor of a new file, whose bytes are on disk once the body has ended."""
    descriptor = open_new(path)
    try:
        yield descriptor
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Writes a whole file. One writer of a path at a time."""
    _write(path, data, None)


def write_new_durably(path: Path, data: bytes) -> bool:
    """Writes a whole file where none has the name; False: one has, and stays. Several may write one path at once, from
    other machines too."""
    part = path.with_name(f"{path.name}.{os.urandom(8).hex()}{PART}")
    try:
        with _new_file(part) as descriptor:
            write_at(descriptor, data, 0)
        if path.exists():
            return False
        try:
            os.link(part, path)
        except FileExistsError:
            return False
    finally:
        discard(part)
    sync_folder(path.parent)
    return True


def replace_content(path: Path, data: bytes) -> None:
    """Gives a file that is there another content; its rights and its owner stay."""
    _write(path, data, path.stat())


def _write(path: Path, data: bytes, like: os.stat_result | None) -> None:
    with writing_durably(path) as descriptor:
        write_at(descriptor, data, 0)
        if like is not None:
            if (os.geteuid(), os.getegid()) != (like.st_uid, like.st_gid):
                os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(like.st_mode))


@contextlib.contextmanager
def changing(path: Path) -> Iterator[None]:
    """One at a time, of those who read a file, change what it says and write it."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def replace_durably(source: Path, target: Path) -> None:
    """Gives a file another name, in place of what has it. Its bytes are as safe as they were: fsync them before."""
    os.replace(source, target)
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


def link_durably(source: Path, target: Path) -> None:
    """Gives a file a second name, in place of what has it."""
    part = part_of(target)
    discard(part)
    os.link(source, part)
    os.replace(part, target)
    # Two names of one file: then the rename does nothing, and says that all is well.
    discard(part)
    sync_folder(target.parent)


def remove_durably(*paths: Path) -> None:
    """Removes files; one that is not there is no error."""
    removed = [path for path in paths if discard(path)]
    for folder in {path.parent for path in removed}:
        sync_folder(folder)


def remove_empty_folder(folder: Path) -> None:
    """Removes a folder where nothing is in it. No fsync: an empty one that comes back does no harm."""
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def discard(path: Path) -> bool:
    """Removes a file that may come back after a power failure, such as a `.part`; whether it was there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def remove_leftovers(folder: Path, pattern: str = "*" + PART, *, but: Collection[Path] = ()) -> None:
    """Removes what was begun and never finished: for a start, when nobody writes to the folder yet."""
    remove_durably(*(path for path in folder.glob(pattern) if path not in but))


def make_folder(folder: Path) -> None:
    """Makes a folder with those above it: a file is only as safe as the name of each folder that it is in."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file where a folder should be")
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Makes what was made, renamed and removed in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
