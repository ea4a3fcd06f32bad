"""The newest lines of this process's own log, kept in memory for other machines; and what is shown of a line."""

from __future__ import annotations

import logging
import re
from collections import deque
from typing import Final

from services.shared.domain.sentences import plain

#: Lines that are kept, and how long one may be.
LINES_MAX: Final = 1_000
_LINE_MAX: Final = 2_000
#: What no service writes into its log; and whoever did write it by mistake has not shown it to every browser.
_SECRET: Final = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # a token
    r"|(?i:(?<=bearer )|(?<=[#?&]key=)|(?<=[#?&]token=)|(?<=password=))[^\s&\"']+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*"
    r"|(?<=://)[^/@\s:]+:[^/@\s]+(?=@)"  # in a URL
)
_HIDDEN: Final = "[hidden]"


class KeptLines(logging.Handler):
    """A handler that keeps the newest lines, as they are shown: never more than `LINES_MAX` of `_LINE_MAX`."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=LINES_MAX)

    def emit(self, record: logging.LogRecord) -> None:
        """As handlers do: what can't be told ends nobody."""
        try:
            # Cut as it comes: one line may be any long. One character more says later that it was.
            lines = self.format(record).splitlines()[-LINES_MAX:]
            self._lines.extend(line[: _LINE_MAX + 1] for line in lines)
        except Exception:
            self.handleError(record)

    def last(self, count: int) -> list[str]:
        """So many at most, oldest first, as they may be shown."""
        self.acquire()
        try:
            lines = list(self._lines)[-count:]
        finally:
            self.release()
        return [shown_line(line) for line in lines]


#: Of this process: `configure_logging` has it listen.
OWN_LINES: Final = KeptLines()


def shown_line(line: str) -> str:
    """Without what acts on a terminal, and without what looks like a secret."""
    line = _SECRET.sub(_HIDDEN, line.expandtabs(4))
    return plain(line if len(line) <= _LINE_MAX else line[:_LINE_MAX] + "…")
