"""What would be told many times a second, told seldom."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: The same is told again after this, in seconds: whoever looks at a log's end finds it there.
AGAIN_S = 60.0
#: Different things that are told in that time: what never has the same words does not fill a log either.
_TOLD_MAX = 20


class Seldom:
    """Of lines of one kind, those that are to be told. Any thread may ask.

    Args:
        now_s: A clock that only grows.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        #: When each was told, in that order; none that is older than `AGAIN_S`.
        self._told_s: dict[str, float] = {}

    def tells(self, text: str) -> bool:
        """Whether this one is to be told now."""
        with self._lock:
            now_s = self._now_s()
            self._told_s = {told: at_s for told, at_s in self._told_s.items() if now_s - at_s < AGAIN_S}
            if text in self._told_s or len(self._told_s) >= _TOLD_MAX:
                return False
            self._told_s[text] = now_s
            return True
