"""One log: a file of bounded size with one older file beside it. Who follows it gets the lines as they are written."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from services.shared.debug.broadcast import Broadcast
from services.shared.domain.sentences import plain

#: A node's: what it does; updates as they are applied.
NODE_LOG = "mtree.log"
PUSH_LOG = "hpushup.log"
LINES_MAX = 10_000
#: Bytes of a file's end that a tail looks at.
TAIL_BYTES_MAX = 4 * 1024**2
LINE_LENGTH_MAX = 500


class DebugLog:
    """One log: a file that is started anew when it is full, with the one before kept as `….1`."""

    def __init__(self, path: Path, bytes_max: int) -> None:
        self._path = path
        self._older = path.with_name(path.name + ".1")
        self._bytes_max = bytes_max
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._size_bytes = self._file.tell()
        self.broadcast = Broadcast()

    def write(self, lines: Sequence[str]) -> None:
        """Adds lines, with the time before each."""
        stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        stamped = [f"{stamp} {_one_line(line)}" for line in lines]
        data = "".join(line + "\n" for line in stamped).encode()
        if self._size_bytes + len(data) > self._bytes_max:
            self._turn_over()
        # A full disk must not end the node: the line is lost, the follower still hears it.
        with contextlib.suppress(OSError):
            self._size_bytes += self._file.write(data[: self._bytes_max])
        for line in stamped:
            self.broadcast.tell(line)

    async def last(self, lines: int) -> list[str]:
        """The last lines, oldest first."""
        return await asyncio.to_thread(self.tail, lines)

    def follow(self) -> AsyncIterator[str]:
        """Lines as they are written. Raises TooManyFollowersError."""
        return self.broadcast.follow()

    def tail(self, lines: int) -> list[str]:
        """The last lines, oldest first. Blocks on the disk."""
        wanted = max(0, min(lines, LINES_MAX))
        found: list[str] = []
        for path in (self._path, self._older):
            if len(found) < wanted:
                found = [*_last_lines(path, wanted - len(found)), *found]
        return found

    def close(self) -> None:
        self._file.close()

    def _turn_over(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
            self._path.replace(self._older)
        self._file = self._path.open("ab", buffering=0)
        self._size_bytes = self._file.tell()


def _one_line(text: str) -> str:
    shown = text if len(text) <= LINE_LENGTH_MAX else text[:LINE_LENGTH_MAX] + "…"
    return plain(shown.replace("\r", " ").replace("\n", " | "))


def _last_lines(path: Path, count: int) -> list[str]:
    if count <= 0:
        return []
    try:
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            file.seek(max(0, size_bytes - TAIL_BYTES_MAX))
            data = file.read(TAIL_BYTES_MAX)
    except OSError:
        return []
    lines = data.decode(errors="replace").splitlines()
    return (lines[1:] if size_bytes > TAIL_BYTES_MAX else lines)[-count:]
