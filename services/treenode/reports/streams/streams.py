"""The streams under way: so many at once, each with a copy of its rows until its client has them.

One more waits for its turn a little while: a stream of a million members takes a second or two.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import TypeAlias

from services.shared.domain.sentences import counted
from services.shared.serving.errors import ResourceExhaustedError
from services.treenode.reports.copy.room import RETRY_S, CopyRoom
from services.treenode.reports.limits import ReportLimits
from services.treenode.reports.streams.stalls import StallWatch

#: Streams that wait for their turn, and how long one does, in seconds.
WAITING_MAX = 64
WAIT_S_MAX = 5.0
#: What a stream is as of, and its messages, which alone hold the copy.
Begun: TypeAlias = tuple[bytes, Generator[bytes]]
InThread: TypeAlias = Callable[[Callable[[], bytes | None]], asyncio.Future[bytes | None]]


class Streams:
    """Those of one service. Used on its event loop."""

    def __init__(self, limits: ReportLimits, in_thread: InThread) -> None:
        """`in_thread`: where messages are encoded."""
        self._limits = limits
        self._in_thread = in_thread
        #: A place for each stream.
        self._places = CopyRoom(limits.streams_max, WAITING_MAX)

    @property
    def count(self) -> int:
        """Streams under way."""
        return self._places.used_bytes

    async def _take_place(self) -> None:
        """Raises ResourceExhaustedError where there is none for a while, or too many wait for one."""
        if self._places.waiting < WAITING_MAX:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WAIT_S_MAX):
                    return await self._places.take(1)
        raise ResourceExhaustedError(
            f"{counted(self.count, 'stream is', 'streams are')} under way, the most that this node allows, and "
            f"{self._places.waiting} wait: try again, or another node",
            reason="TOO_MANY_STREAMS",
            retry_after_s=RETRY_S,
        )

    async def messages(self, begin: Callable[[], Awaitable[Begun]]) -> AsyncGenerator[bytes]:
        """The messages of one more stream, the first headed by what it is as of; to be closed by whoever takes them.

        Raises:
            ResourceExhaustedError: There are too many, and were for a while; nothing was begun.
            UnavailableError: Its client took nothing for too long.
        """
        await self._take_place()
        watch: StallWatch | None = None
        try:
            head, pieces = await begin()

            def let_go() -> None:
                pieces.close()
                self._places.give_back(1)

            watch = StallWatch(self._limits.stream_stall_s_max, let_go)
            # One piece is encoded while the one before it is sent.
            coming = self._in_thread(lambda: next(pieces, None))
            while (piece := await coming) is not None:
                coming = self._in_thread(lambda: next(pieces, None))
                watch.sending()
                yield head + piece if head else piece
                watch.taken()
                head = b""
            if head:
                yield head
        finally:
            if watch is not None:
                watch.close()
            if watch is None or not watch.stalled:
                self._places.give_back(1)
