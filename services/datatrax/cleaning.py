"""What of the spool and of the files that were sent has served its time: by how long it has lain where it is.

    done/, outgoing/sent/           what was taken
    refused/, outgoing/refused/     what has to be looked at
    beside them                     unfinished files that nobody finishes, which programs of 2016 kept for debugging

Where a file's own name is what keeps its records from counting twice, the name stays, as an empty file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from services.datatrax.spool.forms import FormError, form_of
from services.shared.files.arrivals import UNFINISHED
from services.shared.files.durable import remove_durably, write_durably

#: Files that are removed before others get the disk.
_AT_A_TIME: Final = 1_000
#: What the service and the jobs put beside a file.
_BESIDE: Final = (".receipts", ".reasons", ".import")
#: What was begun under a name of its own, and never finished.
_BEGUN: Final = (".put-", ".taking-")
_PART: Final = ".part"


class Kept(NamedTuple):
    """How long what is kept, in seconds; 0: for good."""

    done_s: float
    refused_s: float
    unfinished_s: float


class Old(NamedTuple):
    """A file that has served its time."""

    path: Path
    size_bytes: int
    #: Its name stays: an empty file.
    name_stays: bool = False


def old_files(folder: Path, layouts: Path, kept: Kept, now_s: float) -> Iterator[Old]:
    """All of them. `folder`: of a port, such as FT50201; `now_s`: the wall clock. Raises OSError."""
    outgoing = folder / "outgoing"
    for place, kept_s in (("done", kept.done_s), ("refused", kept.refused_s)):
        yield from _old_of(folder / place, kept_s, now_s, lambda name: _is_known_by_its_name(name, layouts))
    for place, kept_s in (("sent", kept.done_s), ("refused", kept.refused_s)):
        yield from _old_of(outgoing / place, kept_s, now_s)
    for own in (folder, outgoing):
        for each in _old_of(own, kept.unfinished_s, now_s):
            name = each.path.name
            is_part = name.startswith(_BEGUN) and (name.startswith(_BEGUN[0]) or name.endswith(_PART))
            if is_part or (name.lower().endswith(UNFINISHED) and not name.startswith(".")):
                yield each


def clean(old: list[Old]) -> int:
    """Removes them; how many bytes that gave back. Raises OSError."""
    for each in old:
        if each.name_stays:
            write_durably(each.path, b"")
    gone = [each.path for each in old if not each.name_stays]
    for first in range(0, len(gone), _AT_A_TIME):
        remove_durably(*gone[first : first + _AT_A_TIME])
    return sum(each.size_bytes for each in old)


def _old_of(
    folder: Path, kept_s: float, now_s: float, name_stays: Callable[[str], bool] = lambda name: False
) -> Iterator[Old]:
    """Regular files right in it, links as little as folders."""
    if not kept_s:
        return
    try:
        found = os.scandir(folder)
    except FileNotFoundError:
        return
    with found:
        for each in found:
            try:
                state = each.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            # A rename changes the time of the name, and leaves that of the content.
            age_s = now_s - max(state.st_mtime, state.st_ctime)
            if not stat.S_ISREG(state.st_mode) or age_s <= kept_s:
                continue
            stays = name_stays(each.name)
            if not stays or state.st_size:
                yield Old(Path(each.path), state.st_size, stays)


def _is_known_by_its_name(name: str, layouts: Path) -> bool:
    """Whether its records have no ids of their own; also where that can't be known any more."""
    if name.endswith(_BESIDE):
        return False
    try:
        return not form_of(name, layouts).has_own_ids
    except FormError:
        return True
