"""What is tried again many times a second, told once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

#: The same is told again after this, in seconds: whoever looks at the log's end finds it there.
AGAIN_S = 60.0
#: Different things that are told in that time: an error that never has the same words does not fill a log either.
_TOLD_MAX = 20


class TriesAgain:
    """The lines of one server that is away. Any thread may tell of it.

    Args:
        logger: Where to.
        now_s: A clock that only grows.

    Attributes:
        waits_for: Why it was tried again last; empty once it answers.
    """

    def __init__(self, logger: logging.Logger, now_s: Callable[[], float] = time.monotonic) -> None:
        self._logger, self._now_s = logger, now_s
        self._lock = threading.Lock()
        #: When each was told, in that order; none that is older than `AGAIN_S`.
        self._told_s: dict[str, float] = {}
        #: Something was told, and not yet that it is over.
        self._is_away = False
        self.waits_for = ""

    def because(self, why: str) -> None:
        """It is away, and tried again."""
        self.waits_for = why
        with self._lock:
            now_s = self._now_s()
            self._told_s = {text: at_s for text, at_s in self._told_s.items() if now_s - at_s < AGAIN_S}
            if why in self._told_s or len(self._told_s) >= _TOLD_MAX:
                return
            self._told_s[why], self._is_away = now_s, True
        self._logger.info("%s; tries again", why)

    def over(self, place: str) -> None:
        """It answers."""
        self.waits_for = ""
        if not self._is_away:
            return
        with self._lock:
            self._is_away = False
        self._logger.info("%s answers again", place)
