"""What of the spool and of the files that were sent has served its time: by how long it has lain where it is.

    done/, outgoing/sent/           what was taken
    refused/, outgoing/refused/     what has to be looked at
    beside them                     unfinished files that nobody finishes, which programs of 2016 kept for debugging

Where a file's own name is what keeps its records from counting twice, the name stays, as an empty file.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from services.datatrax.settings import SpoolSettings
from services.datatrax.spool.forms import FormError, form_of
from services.shared.clock import SettledWallClock
from services.shared.domain.sentences import counted, system_words
from services.shared.files.arrivals import UNFINISHED
from services.shared.files.durable import remove_durably, write_durably

logger = logging.getLogger(__name__)

#: So often the clocks are looked at: a step that is taken back within it is not seen.
_LOOK_S: Final = 5.0
#: Files that the service removes in one round; the others have to wait for the next.
_A_ROUND: Final = 10_000
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


class SpoolCleaning:
    """The service's own, now and then; `run` is its life. By no clock that has just been set."""

    def __init__(self, settings: SpoolSettings, clock: SettledWallClock | None = None) -> None:
        self._folder = Path(settings.spool_folder).absolute()
        self._layouts = Path(settings.layout_folder).absolute() if settings.layout_folder else self._folder / "layouts"
        self._kept = Kept(settings.spool_done_kept_s, settings.spool_refused_kept_s, settings.spool_unfinished_kept_s)
        self._every_s = settings.spool_clean_s
        self._clock = clock or SettledWallClock()
        self.removed = 0

    async def run(self) -> None:
        """For as long as the process runs."""
        due_s = time.monotonic()
        while True:
            now_s = self._clock.note(time.time(), time.monotonic())
            if now_s is not None and time.monotonic() >= due_s:
                due_s = time.monotonic() + self._every_s
                try:
                    await asyncio.to_thread(self.clean, now_s)
                except OSError as error:
                    logger.error("the spool %s can't be cleaned: %s; tries again", self._folder, system_words(error))
            await asyncio.sleep(min(_LOOK_S, self._every_s))

    def clean(self, now_s: float) -> None:
        """One round. Blocks. Raises OSError."""
        old = list(itertools.islice(old_files(self._folder, self._layouts, self._kept, now_s), _A_ROUND))
        if old:
            freed = clean(old)
            self.removed += len(old)
            logger.info("%s had lain in the spool long enough: %s bytes", counted(len(old), "file"), f"{freed:,}")


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
