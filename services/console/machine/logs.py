"""The ends of log files in one folder: of the names that are there, as lines that show no more than they say."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Final

from services.shared.debug.own_log import shown_line

#: Read of a file's end.
_BYTES_MAX: Final = 256 << 10
_FILES_MAX: Final = 200
_SUFFIX: Final = ".log"


def files_of(folder: Path) -> list[dict[str, Any]]:
    """Blocks. Raises OSError."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(_SUFFIX) and entry.is_file(follow_symlinks=False):
                told = entry.stat(follow_symlinks=False)
                name = entry.name.removesuffix(_SUFFIX)
                found.append({"name": name, "bytes": told.st_size, "changed_at": told.st_mtime_ns // 1_000_000})
    return sorted(found, key=lambda file: str(file["name"]))[:_FILES_MAX]


def tail_of(folder: Path, name: str, lines: int) -> dict[str, Any]:
    """Blocks. `name`: one of those in the folder; KeyError: it is none. Raises OSError."""
    if name not in {file["name"] for file in files_of(folder)}:
        raise KeyError(name)
    descriptor = os.open(folder / f"{name}{_SUFFIX}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise KeyError(name)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _BYTES_MAX, 0))
        content = file.read(_BYTES_MAX)
    if size > _BYTES_MAX:
        content = content.partition(b"\n")[2]
    there = content.decode("utf-8", "surrogateescape").splitlines()
    shown = there[-lines:]
    return {
        "name": name,
        "bytes": size,
        "is_whole": size <= _BYTES_MAX and len(shown) == len(there),
        "lines": [shown_line(line) for line in shown],
    }
