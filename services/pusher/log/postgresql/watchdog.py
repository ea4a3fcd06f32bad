"""Ends a connection whose server does not answer in time.

PostgreSQL's own time-outs do not cover a commit that waits for standbys, nor a server that is cut off. What became of
the commit is then looked up (`writing.py`).
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

from services.shared.postgresql.connecting import Connection, cut

logger = logging.getLogger(__name__)

_LOOK_S = 0.1


class Watchdog:
    """One for each connection that writes; its thread looks ten times a second."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._watched: tuple[Connection, float] | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="postgresql-watchdog", daemon=True).start()

    @contextlib.contextmanager
    def watch(self, connection: Connection) -> Iterator[None]:
        """The body has to be done in time: else the connection fails in it."""
        with self._lock:
            self._watched = (connection, time.monotonic() + self._limit_s)
        try:
            yield
        finally:
            with self._lock:
                self._watched = None

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_S):
            with self._lock:
                if self._watched is None or time.monotonic() < self._watched[1]:
                    continue
                connection, self._watched = self._watched[0], None
                logger.warning("PostgreSQL does not answer within %g s: gives the connection up", self._limit_s)
                cut(connection)

    def close(self) -> None:
        """Ends the thread."""
        self._ended.set()
