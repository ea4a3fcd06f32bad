"""Which updates are being applied at this moment, in a file: so that a process that died of one knows it afterwards.

An engine that ends the process (a fault of the memory, a kill for want of it) tells nobody at which update. The mark is
written into mapped memory before each slice and taken back after it, which costs nothing: what a dead process had
written there is in the file all the same. It is not meant to last through a loss of power, in which nobody died of an
update.

A process that finds a mark applies those updates one by one. One that finds a single update, at which a process has
died before, does not try it again.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from pathlib import Path

#: A process that died of the same single update so many times has died of it.
DEATHS_MAX = 2

_LAYOUT = struct.Struct("<IQQQ")


class ApplyingMark:
    """The mark of one node, in its state folder."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where the file can't be made."""
        with path.open("a+b") as file:
            file.truncate(_LAYOUT.size)
            self._memory = mmap.mmap(file.fileno(), _LAYOUT.size)
        log, first, count, deaths = _LAYOUT.unpack_from(self._memory)
        #: The updates that a process died among, and the log that their positions count in.
        self._log = log
        self.suspects = range(first, first + count)
        #: How many processes have died of them, where it is a single one.
        self.deaths = deaths + 1 if count == 1 else 0
        self._memory[:] = bytes(_LAYOUT.size)
        self._died_of = first if count == 1 else 0

    def is_suspect(self, log_id: str, position: int) -> bool:
        """Whether a process may have died of that update."""
        return position in self.suspects and self._log == _short(log_id)

    def is_deadly(self, log_id: str, position: int) -> bool:
        """Whether processes have died of that update, and of no other, as often as it takes."""
        return self.deaths >= DEATHS_MAX and self.is_suspect(log_id, position)

    def begin(self, log_id: str, first_position: int, count: int) -> None:
        """These are applied from now on."""
        deaths = self.deaths if count == 1 and first_position == self._died_of else 0
        _LAYOUT.pack_into(self._memory, 0, _short(log_id), first_position, count, deaths)

    def keep(self, log_id: str, position: int) -> None:
        """That deadly update is not tried: the next process has to know, too."""
        _LAYOUT.pack_into(self._memory, 0, _short(log_id), position, 1, self.deaths - 1)

    def end(self) -> None:
        """They are in the tree."""
        self._memory[:] = bytes(_LAYOUT.size)

    def close(self) -> None:
        """Leaves the file as it is."""
        self._memory.close()


def _short(log_id: str) -> int:
    return zlib.crc32(log_id.encode())
