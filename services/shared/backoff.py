"""Waits that grow between tries, with jitter so that many who wait don't come back in step.

Cores use them too: chance comes in from outside.
"""

from __future__ import annotations

from collections.abc import Callable

#: Doublings that are counted: more than any largest wait is away from its first one.
_DOUBLINGS_MAX = 30


class Backoff:
    """How long to wait after so many failures in a row: each wait is twice as long, up to a largest one.

    Args:
        initial_s: First wait, in seconds.
        max_s: Largest wait, in seconds.
        random: Draws from [0, 1): a wait lies in the upper half of its range. 1 each time: always as long as it may be.
    """

    def __init__(self, initial_s: float, max_s: float, random: Callable[[], float] = lambda: 1.0) -> None:
        if not 0 < initial_s <= max_s:
            raise ValueError(f"back-off needs 0 < initial_s <= max_s, not {initial_s} and {max_s}")
        self._initial_s = initial_s
        self._max_s = max_s
        self._random = random

    def wait_s(self, failures: int) -> float:
        """The wait after one more failure than these, in seconds."""
        longest_s = self._initial_s * float(2 ** min(failures, _DOUBLINGS_MAX))
        return min(longest_s, self._max_s) * (0.5 + 0.5 * self._random())


class Waits:
    """The waits of one who tries again and again."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failures = 0

    def next_s(self) -> float:
        """After a failure: how long to wait, in seconds."""
        wait_s = self._backoff.wait_s(self._failures)
        self._failures += 1
        return wait_s

    def reset(self) -> None:
        """After a success: the next wait is the first one again."""
        self._failures = 0
