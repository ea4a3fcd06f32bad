"""The newest records in memory, and one way to read the log from there or from the disk."""

from __future__ import annotations

import asyncio
from collections import deque

from services.pusher.log.frames import Run, join_runs
from services.pusher.log.store import LogEnds, LogStore

#: So many small runs become one: a run of one update costs several times the update itself.
_JOIN_RUNS = 64
_SMALL_BYTES = 16 << 10


class LogTail:
    """The newest runs, up to `bytes_max` in all (and at least the newest one). What is older is read from the store."""

    def __init__(self, store: LogStore, bytes_max: int) -> None:
        self._store = store
        self._bytes_max = bytes_max
        self._runs: deque[Run] = deque()
        self._bytes = 0
        #: How many of the newest runs are small and not joined yet.
        self._small = 0
        #: Reads that the tail could not answer.
        self.disk_reads = 0

    @property
    def ends(self) -> LogEnds:
        return self._store.ends()

    @property
    def size_bytes(self) -> int:
        """What the tail holds."""
        return self._bytes

    def add(self, run: Run) -> None:
        """The newest run, which follows the one before."""
        self._runs.append(run)
        self._bytes += len(run.data)
        self._small = self._small + 1 if len(run.data) < _SMALL_BYTES else 0
        if self._small == _JOIN_RUNS:
            joined = [self._runs.pop() for _ in range(_JOIN_RUNS)]
            self._runs.append(join_runs(joined[::-1]))
            self._small = 0
        while self._bytes > self._bytes_max and len(self._runs) > 1:
            self._bytes -= len(self._runs.popleft().data)

    def recent(self, first_position: int, last_position: int, bytes_max: int) -> Run | None:
        """Records from the tail, at least one; None where it does not reach back so far."""
        if not self._runs or not self._runs[0].first_position <= first_position <= self._runs[-1].last_position:
            return None
        parts: list[Run] = []
        for run in reversed(self._runs):
            if run.first_position <= last_position:
                parts.append(run)
            if run.first_position <= first_position:
                break
        parts.reverse()
        parts[0] = parts[0].cut(first_position, last_position, bytes_max)
        kept, size_bytes = 1, len(parts[0].data)
        while kept < len(parts) and size_bytes + len(parts[kept].data) <= bytes_max:
            size_bytes += len(parts[kept].data)
            kept += 1
        return join_runs(parts[:kept]).cut(first_position, last_position, bytes_max)

    async def read(self, first_position: int, last_position: int, bytes_max: int) -> Run:
        """Records from the tail or the disk, as `LogStore.read`."""
        run = self.recent(first_position, last_position, bytes_max)
        if run is not None:
            return run
        self.disk_reads += 1
        return await asyncio.to_thread(self._store.read, first_position, last_position, bytes_max)
