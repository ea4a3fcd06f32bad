"""Whether a file that came without a marker ends where a file may end."""

from __future__ import annotations

import os
from pathlib import Path

from fasttree.v1 import types_pb2
from services.pusher.imports.files import find_format

_HEAD_BYTES = 16


def ends_within_a_line(path: Path) -> bool:
    """Whether its last line lacks its end. Only of CSV: the packed formats say themselves that they are cut off.

    Raises OSError where it can't be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if find_format(os.pread(descriptor, _HEAD_BYTES, 0)) != types_pb2.IMPORT_FORMAT_CSV:
            return False
        size_bytes = os.fstat(descriptor).st_size
        return size_bytes > 0 and os.pread(descriptor, 1, size_bytes - 1) not in (b"\n", b"\r")
    finally:
        os.close(descriptor)
