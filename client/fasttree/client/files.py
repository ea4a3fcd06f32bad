"""Files that somebody names: regular ones alone, since a pipe, a device or a folder may never end, or never begin.

Nor is anything else written over: who gives a file its name in one step, puts it in the place of a device or a link.
"""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: Path) -> BufferedReader:
    """The file, opened to be read. Raises OSError; its strerror says what is wrong, in few words."""
    try:
        # Without waiting for whoever would write into a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError:
        raise OSError(0, "it is no path") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "it is no regular file")
    return os.fdopen(descriptor, "rb")


def check_replaceable(path: Path) -> None:
    """Raises OSError where something is there that is no file: /dev/stdout would be one from then on, for everybody."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, "it is no regular file, and is not written over: name a file")
