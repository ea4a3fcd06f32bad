"""The streams under way: so many at once, each with a copy of its rows until its client has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import TypeAlias

from services.shared.domain.sentences import counted
from services.shared.serving.errors import ResourceExhaustedError
from services.treenode.reports.limits import ReportLimits
from services.treenode.reports.streams.stalls import StallWatch

#: What a stream is as of, and its messages, which alone hold the copy.
Begun: TypeAlias = tuple[bytes, Generator[bytes]]
InThread: TypeAlias = Callable[[Callable[[], bytes | None]], asyncio.Future[bytes | None]]


class Streams:
    """Those of one service. Used on its event loop."""

    def __init__(self, limits: ReportLimits, in_thread: InThread) -> None:
        """`in_thread`: where messages are encoded."""
        self._limits = limits
        self._in_thread = in_thread
        self._count = 0

    @property
    def count(self) -> int:
        """Streams under way."""
        return self._count

    async def messages(self, begin: Callable[[], Awaitable[Begun]]) -> AsyncGenerator[bytes]:
        """The messages of one more stream, the first headed by what it is as of; to be closed by whoever takes them.

        Raises:
            ResourceExhaustedError: There are too many; nothing was begun.
            UnavailableError: Its client took nothing for too long.
        """
        if self._count >= self._limits.streams_max:
            raise ResourceExhaustedError(
                f"{counted(self._count, 'stream is', 'streams are')} under way, the most that this node allows: "
                "try again, or another node",
                reason="TOO_MANY_STREAMS",
            )
        self._count += 1
        watch: StallWatch | None = None
        try:
            head, pieces = await begin()

            def let_go() -> None:
                pieces.close()
                self._count -= 1

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
                self._count -= 1
