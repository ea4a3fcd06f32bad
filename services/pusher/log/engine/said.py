"""What is tried again many times a second, told once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from services.shared.seldom import Seldom


class TriesAgain:
    """The lines of one server that is away. Any thread may tell of it.

    Args:
        logger: Where to.
        now_s: A clock that only grows.

    Attributes:
        waits_for: Why it was tried again last; empty once it answers.
    """

    def __init__(self, logger: logging.Logger, now_s: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._seldom = Seldom(now_s)
        #: Something was told, and not yet that it is over.
        self._is_away = False
        self.waits_for = ""

    def because(self, why: str) -> None:
        """It is away, and tried again."""
        self.waits_for = why
        if self._seldom.tells(why):
            self._is_away = True
            self._logger.info("%s; tries again", why)

    def over(self, place: str) -> None:
        """It answers."""
        self.waits_for = ""
        if self._is_away:
            self._is_away = False
            self._logger.info("%s answers again", place)
