"""Whether a file is another one than it was."""

from __future__ import annotations

import os
from typing import TypeAlias

#: Another one for another file.
Stamp: TypeAlias = tuple[int, int, int]


def stamp(path: os.PathLike[str] | str) -> Stamp:
    """Of the file there now, whether it was renamed there, written over, or stands behind another link."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)
