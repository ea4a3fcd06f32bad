"""Lets go of a stream's copy once its client has taken nothing for too long.

A message that nobody takes holds its handler up inside gRPC, where nothing can end it but the end of the connection.
So the copy goes at once, with its place among the streams; the client hears of it when it takes its next message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.shared.serving.errors import UnavailableError

#: The next try to let go, where a thread was still encoding from the copy, in seconds.
RETRY_S = 0.05


class StallWatch:
    """Of one stream; used on the event loop."""

    def __init__(self, stall_s_max: float, let_go: Callable[[], None]) -> None:
        """`let_go`: frees what the stream holds, or raises ValueError where that is in use."""
        self._stall_s_max = stall_s_max
        self._let_go = let_go
        self._timer: asyncio.TimerHandle | None = None
        #: It took too long: what it held is gone.
        self.stalled = False

    def sending(self) -> None:
        """A message is on its way to the client."""
        self._timer = asyncio.get_running_loop().call_later(self._stall_s_max, self._end)

    def taken(self) -> None:
        """The client took it.

        Raises:
            UnavailableError: Too late.
        """
        self.close()
        if self.stalled:
            raise UnavailableError(
                f"nothing of this stream was taken for {self._stall_s_max:g} s, so it was ended: ask again, and read "
                "faster",
                reason="STREAM_STALLED",
            )

    def close(self) -> None:
        """Watches no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _end(self) -> None:
        try:
            self._let_go()
            self.stalled = True
        except ValueError:
            self._timer = asyncio.get_running_loop().call_later(RETRY_S, self._end)
