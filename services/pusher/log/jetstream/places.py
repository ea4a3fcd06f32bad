"""Where in the stream each record is: which message, from which position on. In memory, 20 bytes a message.

The writer's thread adds and drops; any thread looks.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from threading import Lock
from typing import NamedTuple


class Place(NamedTuple):
    """A message of records. `last_position`: at most; what is missing between two of them is damage."""

    sequence: int
    first_position: int
    last_position: int
    size_bytes: int


class RecordPlaces:
    """The messages of records that count, in the order of both their sequences and positions."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sequences = array("Q")
        self._firsts = array("Q")
        self._sizes = array("I")
        self._last = 0

    def add(self, sequence: int, first_position: int, count: int, size_bytes: int) -> None:
        """The next one."""
        with self._lock:
            self._sequences.append(sequence)
            self._firsts.append(first_position)
            self._sizes.append(size_bytes)
            self._last = first_position + count - 1

    def drop(self, first_position: int) -> None:
        """Those wholly before a position."""
        with self._lock:
            gone = bisect_right(self._firsts, first_position) - 1
            if gone > 0:
                del self._sequences[:gone], self._firsts[:gone], self._sizes[:gone]

    def first_sequence(self) -> int:
        """Of the oldest one; 0 where there is none."""
        with self._lock:
            return self._sequences[0] if self._sequences else 0

    def find(self, first_position: int, last_position: int, bytes_max: int) -> list[Place]:
        """Those that hold these positions, the first at least, and about so many bytes of them at most."""
        with self._lock:
            begin = max(bisect_right(self._firsts, first_position) - 1, 0)
            end = bisect_left(self._firsts, last_position + 1)
            found: list[Place] = []
            size_bytes = 0
            for index in range(begin, end):
                size = self._sizes[index]
                if found and size_bytes + size > bytes_max:
                    break
                size_bytes += size
                last = self._firsts[index + 1] - 1 if index + 1 < len(self._firsts) else self._last
                found.append(Place(self._sequences[index], self._firsts[index], last, size))
            return found
