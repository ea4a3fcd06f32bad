"""Waits that grow between tries, with jitter so that many clients don't come back in step."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Doubling delays, each drawn from the upper half of its range.

    Args:
        initial_s: First delay, in seconds.
        max_s: Largest delay, in seconds.
        random: Draws from [0, 1).
    """

    def __init__(self, initial_s: float, max_s: float, random: Callable[[], float]) -> None:
        if not 0 < initial_s <= max_s:
            raise ValueError(f"back-off needs 0 < initial_s <= max_s, not {initial_s} and {max_s}")
        self._initial_s = initial_s
        self._max_s = max_s
        self._random = random
        self._delay_s = initial_s

    def next_s(self) -> float:
        """The next delay, in seconds."""
        delay_s = self._delay_s * (0.5 + 0.5 * self._random())
        self._delay_s = min(self._delay_s * 2, self._max_s)
        return delay_s

    def reset(self) -> None:
        """After a success: the next delay is the first one again."""
        self._delay_s = self._initial_s
