"""A folder that others put files into: what lies there, and where what was taken from it goes."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Final

from services.shared.files.arrivals import UNFINISHED, Entry, EntryKind

#: What a name has before it where the first of that name lies there already. Never twice: names have a longest length.
_TIME: Final = re.compile(r"^[0-9]{19}-")


def entries_of(folder: Path) -> list[Entry]:
    """What lies there; links are not followed. Raises OSError."""
    entries = []
    with os.scandir(folder) as found:
        for each in found:
            if each.name.lower().endswith(UNFINISHED):  # nobody asks for more of those, and there may be many
                entries.append(Entry(each.name, EntryKind.OTHER, (each.inode(),)))
                continue
            try:
                state = each.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            kind = EntryKind.OTHER
            if each.is_dir(follow_symlinks=False):
                kind = EntryKind.FOLDER
            elif each.is_file(follow_symlinks=False):
                kind = EntryKind.FILE
            entries.append(Entry(each.name, kind, look_of(state)))
    return entries


def look_of(state: os.stat_result) -> tuple[int, ...]:
    """Whatever changes when the thing behind a name does."""
    return state.st_ino, state.st_size, state.st_mtime_ns


def free_name(target: Path) -> Path:
    """The path itself, or where something lies there already, one beside it with the time before its name."""
    if not os.path.lexists(target):
        return target
    return target.with_name(f"{time.time_ns()}-{_TIME.sub('', target.name, count=1)}")
