"""A disk that forgets: what may be in a folder after a power failure, at each moment of what a function does.

It stands in for the `os` of `services/shared/files/durable.py`, does what it is told on the real disk, and keeps book
of what nothing promises yet. Without an fsync a file may hold anything. Without an fsync of its folder, any change to
that may have happened or not, each one by itself: some disks keep their order, POSIX doesn't ask for it. A file that
was written by others is taken for synchronized when it is given a name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

#: What a file holds that nobody has synchronized: bytes that were never written.
TORN = b"\0torn\0"

#: Every file that may be there, and what is in it.
Disk = dict[Path, bytes]


@dataclass(frozen=True)
class _Change:
    """One change to one folder or two: the names that are gone, and those that are new, each with its file."""

    gone: tuple[Path, ...]
    new: tuple[tuple[Path, int], ...]

    def folders(self) -> set[Path]:
        return {path.parent for path in (*self.gone, *(path for path, _ in self.new))}


class ForgetfulOs:
    """Attributes that are not named here are those of `os`.

    Args:
        folders: Those that hold anything that counts, with what is in them now, all of it on disk.
        fails_at: The number of the call that fails with an OSError, from 1; 0: none does.
    """

    def __init__(self, *folders: Path, fails_at: int = 0) -> None:
        self.fails_at = fails_at
        self.calls: list[str] = []
        #: What the disk could hold before each call, and at the end of what has happened so far.
        self.moments: list[list[Disk]] = []
        files = [path for folder in folders for path in folder.iterdir() if path.is_file()]
        self._names = {path: path.stat().st_ino for path in files}
        self._synchronized = {path.stat().st_ino: path.read_bytes() for path in files}
        self._content = dict(self._synchronized)
        self._changes: list[_Change] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    # -- calls

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        if not flags & os.O_CREAT:
            folder: int = self._call("open folder", lambda: os.open(path, flags, mode))
            return folder
        is_new = not path.exists()
        descriptor: int = self._call("open", lambda: os.open(path, flags, mode))
        inode = os.fstat(descriptor).st_ino
        self._content[inode] = b""
        if is_new:
            self._synchronized.pop(inode, None)  # another file had that number
            self._changes.append(_Change((), ((path, inode),)))
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        # A few bytes a call: what is written whole at once would hide a caller that looks at no count.
        count: int = self._call("write", lambda: os.write(descriptor, data[:16]))
        inode = os.fstat(descriptor).st_ino
        self._content[inode] += bytes(data[:count])
        return count

    def pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
        count: int = self._call("write", lambda: os.pwrite(descriptor, data[:16], offset))
        inode = os.fstat(descriptor).st_ino
        before = self._content[inode].ljust(offset, b"\0")
        self._content[inode] = before[:offset] + bytes(data[:count]) + before[offset + count :]
        return count

    def fsync(self, descriptor: int) -> None:
        state = os.fstat(descriptor)
        target = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        self._call("fsync folder" if target.is_dir() else "fsync", lambda: os.fsync(descriptor))
        if not target.is_dir():
            self._synchronized[state.st_ino] = self._content[state.st_ino]
            return
        # A rename between two folders is on disk in the one, and not yet in the other.
        for change in self._changes:
            if target in change.folders():
                self._apply(self._names, _only(change, target))
        self._changes = [
            left for change in self._changes for left in [_all_but(change, target)] if left.gone or left.new
        ]

    def replace(self, source: Path, target: Path) -> None:
        inode, had = source.stat().st_ino, target.stat().st_ino if target.exists() else 0
        if inode not in self._content:
            self._content[inode] = self._synchronized[inode] = source.read_bytes()
        self._call("rename", lambda: os.replace(source, target))
        if inode != had:
            self._changes.append(_Change((source,), ((target, inode),)))

    def link(self, source: Path, target: Path) -> None:
        self._call("link", lambda: os.link(source, target))
        self._changes.append(_Change((), ((target, source.stat().st_ino),)))

    def unlink(self, path: Path) -> None:
        self._call("unlink", lambda: os.unlink(path))
        self._changes.append(_Change((path,), ()))

    def _call(self, name: str, body: Callable[[], Any]) -> Any:
        self.moments.append(list(self._possible()))
        self.calls.append(name)
        if len(self.calls) == self.fails_at:
            raise OSError(5, f"{name} failed")
        return body()

    # -- what may be left

    def ends(self) -> list[Disk]:
        """What the disk may hold if the power fails now."""
        return list(self._possible())

    def _possible(self) -> Iterator[Disk]:
        for happened in product((False, True), repeat=len(self._changes)):
            names = dict(self._names)
            for change, has in zip(self._changes, happened, strict=True):
                if has:
                    self._apply(names, change)
            yield {path: self._after(inode) for path, inode in names.items()}

    def _after(self, inode: int) -> bytes:
        synchronized = self._synchronized.get(inode)
        return TORN if synchronized != self._content[inode] or synchronized is None else synchronized

    @staticmethod
    def _apply(names: dict[Path, int], change: _Change) -> None:
        for path in change.gone:
            names.pop(path, None)
        names.update(change.new)


def _only(change: _Change, folder: Path) -> _Change:
    return _Change(
        tuple(path for path in change.gone if path.parent == folder),
        tuple((path, inode) for path, inode in change.new if path.parent == folder),
    )


def _all_but(change: _Change, folder: Path) -> _Change:
    return _Change(
        tuple(path for path in change.gone if path.parent != folder),
        tuple((path, inode) for path, inode in change.new if path.parent != folder),
    )
