"""The log's files while it is open: what is written to one that is no longer in its place would be lost with the
process, receipts and all. So they are looked at before anything is promised, and nothing is, once one is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from services.pusher.log.disk.trimmed_ids import TrimmedIds
from services.pusher.log.store import KnownDamage, LogGoneError
from services.shared.files.open_file import OpenFile

logger = logging.getLogger(__name__)

#: A flood of commits looks at the disk no more often: it is a few microseconds, and as much may be promised in vain.
LOOK_S: Final = 0.5


class LogFiles:
    """What a log has open. `check` and `look` are for the writer's thread, `problem` for any."""

    def __init__(self, path: Path, ids: TrimmedIds, damage: KnownDamage, monotonic: Callable[[], float]) -> None:
        """`path`: the database, open and in use by now; `damage`: is told what is gone."""
        wal = path.with_name(path.name + "-wal")
        self._files = [OpenFile.of(file, file.stat()) for file in (path, wal) if file == path or file.exists()]
        self._ids, self._damage, self._monotonic = ids, damage, monotonic
        self._looks_again_at_s = monotonic() + LOOK_S

    def check(self) -> None:
        """Raises LogGoneError where what is written now would be lost."""
        self.look()
        if self._damage.gone:
            raise LogGoneError(self._damage.gone)

    def look(self) -> bool:
        """Looks, if it is time; whether it was."""
        now_s = self._monotonic()
        if now_s < self._looks_again_at_s:
            return False
        self._looks_again_at_s = now_s + LOOK_S
        before, self._damage.gone = self._damage.gone, self.problem()
        if self._damage.gone and not before:
            logger.error("takes nothing more: %s", self._damage.gone)
        elif before and not self._damage.gone:
            logger.warning("the log's files are in their places again")
        return True

    def problem(self) -> str:
        """What is gone; empty where nothing is."""
        problem = next(filter(None, (file.problem() for file in (*self._files, *self._ids.files))), "")
        return problem and f"{problem}; put it back where it was"
