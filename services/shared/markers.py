"""What a marker `NAME.done` says: the position that the export began at, or nothing. Nothing else is a position."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from services.shared.domain.sentences import quoted

#: A position has 19 digits at most; the rest is for blanks and a line's end.
MARKER_BYTES_MAX = 64
POSITION_MAX = 2**63 - 1
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_POSITION = re.compile(rb"[0-9]{1,19}")
_MEND = "write the position alone, such as 42, in plain text; or leave the marker empty for the log's end"


class MarkerError(ValueError):
    """The marker says nothing that is a position. One line, with the mend."""


def read_marker(path: Path) -> int | None:
    """The position; None where the marker is empty.

    Raises MarkerError, or OSError where it can't be read.
    """
    # Never waits for whoever would write into a pipe, and goes where the name leads and no further.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise MarkerError(f"{path.name} is no regular file: {_MEND}")
        content = os.read(descriptor, MARKER_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    if len(content) > MARKER_BYTES_MAX:
        raise MarkerError(f"{path.name} has more than {MARKER_BYTES_MAX} bytes: {_MEND}")
    try:
        return marker_position(content)
    except ValueError as error:
        raise MarkerError(f"{path.name} {error}: {_MEND}") from None


def marker_position(content: bytes) -> int | None:
    """What a marker's bytes say. Raises ValueError, which says what they are instead."""
    text = content.removeprefix(_BYTE_ORDER_MARK).strip(b" \t\r\n")
    if not text:
        return None
    if b"\0" in text:
        raise ValueError("is UTF-16, or no text at all")
    if not _POSITION.fullmatch(text) or int(text) > POSITION_MAX:
        raise ValueError(f"holds {quoted(text.decode('utf-8', errors='replace'))}, which is no position")
    return int(text)
