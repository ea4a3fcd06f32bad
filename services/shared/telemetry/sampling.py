"""Which updates and calls are traced that come without a word on it; and a bound on all of them together.

Nothing is drawn for each update: how many are passed over until the next one is drawn, so that what is not traced costs
a subtraction a message.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator


class Sampler:
    """A share of what comes, chosen by chance.

    Args:
        ratio: The share, from 0 to 1.
        per_s_max: Traces a second at most, those that others ask for among them; as many may come at once.
        chance: From 0 to below 1.
    """

    def __init__(self, ratio: float, per_s_max: int, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        #: What `_gap` divides by; None: nothing is chosen, 0: everything is.
        self._log_rest = None if ratio <= 0 else 0.0 if ratio >= 1 else math.log1p(-ratio)
        self._per_s_max = float(per_s_max)
        self._left = self._per_s_max
        self._filled_s = -math.inf
        #: How many are passed over before the next one that is chosen.
        self._passes = self._gap()
        #: Traces that the bound has kept from being begun.
        self.limited = 0

    def chosen(self, count: int) -> Iterator[int]:
        """Of so many that come now, the numbers of those that are chosen, from 0. To be used up."""
        passes = self._passes
        if passes >= count:
            self._passes = passes - count
            return iter(())
        return self._choose(count)

    def _choose(self, count: int) -> Iterator[int]:
        while self._passes < count:
            yield int(self._passes)
            self._passes += 1 + self._gap()
        self._passes -= count

    def may(self, now_s: float) -> bool:
        """Whether one more trace is within the bound; takes it. `now_s`: of a clock that never jumps."""
        if self._left < 1:
            self._left = min(self._per_s_max, self._left + (now_s - self._filled_s) * self._per_s_max)
            self._filled_s = now_s
            if self._left < 1:
                self.limited += 1
                return False
        self._left -= 1
        return True

    def _gap(self) -> float:
        if self._log_rest is None:
            return math.inf
        if not self._log_rest:
            return 0.0
        return float(int(math.log(1.0 - self._chance()) / self._log_rest))
