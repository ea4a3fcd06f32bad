"""Memory for copies of many rows, shared by all reports: whoever finds none waits for it, in order of arrival.

A report keeps its copy from before its turn in the gate until its client has the answer, so the number of calls alone
bounds nothing: each may copy the whole tree.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque

from services.shared.domain.sentences import counted
from services.shared.serving.errors import ResourceExhaustedError
from services.treenode.reports.copy.buffers import Buffers

#: After which a call that was refused may find room, in seconds.
RETRY_S = 1.0


class CopyRoom:
    """So many bytes of copies at a time. Used on one event loop; copies may be let go in any thread."""

    def __init__(self, bytes_max: int, waiting_max: int) -> None:
        """`bytes_max`: a copy that is larger by itself has its turn when no other is there."""
        self._bytes_max, self._waiting_max = bytes_max, waiting_max
        self._used_bytes = 0
        #: Those that wait, in order of arrival; a future is done once its owner has the room.
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used_bytes(self) -> int:
        """What the copies of now take."""
        return self._used_bytes

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return len(self._waiting)

    async def take(self, size_bytes: int) -> None:
        """Returns once there is room for a copy of that size, which then counts.

        Raises ResourceExhaustedError where too many wait already.
        """
        if not self._waiting and self._fits(size_bytes):
            self._used_bytes += size_bytes
            return
        if len(self._waiting) >= self._waiting_max:
            raise ResourceExhaustedError(
                f"{counted(len(self._waiting), 'report waits', 'reports wait')} for memory already: try again, "
                "or another node",
                reason="TOO_MANY_COPIES",
                retry_after_s=RETRY_S,
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size_bytes, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.give_back(size_bytes)
            else:
                self._let_in()  # those behind it may fit
            raise

    def give_back(self, size_bytes: int) -> None:
        """A copy is gone. On the loop."""
        self._used_bytes -= size_bytes
        self._let_in()

    def give_back_with(self, buffers: Buffers, size_bytes: int) -> None:
        """The copy counts for as long as anything refers to its memory."""
        loop = asyncio.get_running_loop()

        def gone() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody counts any more
                loop.call_soon_threadsafe(self.give_back, size_bytes)

        weakref.finalize(buffers.memory, gone)

    def _fits(self, size_bytes: int) -> bool:
        return not self._used_bytes or self._used_bytes + size_bytes <= self._bytes_max

    def _let_in(self) -> None:
        while self._waiting:
            size_bytes, turn = self._waiting[0]
            if not turn.done():
                if not self._fits(size_bytes):
                    return
                self._used_bytes += size_bytes
                turn.set_result(None)
            self._waiting.popleft()
