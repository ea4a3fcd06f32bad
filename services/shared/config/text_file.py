"""Text files that people write: regular files of a bounded size, in UTF-8, with or without a byte order mark."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_NOT_UTF8 = "it is not UTF-8: save it as UTF-8"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_text_file(path: Path, bytes_max: int, *, or_latin_1: bool = False) -> str:
    """The file's text, without a byte order mark: editors of Windows write one. Blocks: it reads the disk.

    `or_latin_1`: what is no UTF-8 is read as Latin-1, for files that programs older than UTF-8 write.

    Raises OSError, which says in a few words what is wrong: it can't be read, it is no regular file (a pipe or a device
    would hold up whoever reads it), it is longer than `bytes_max`, it is no UTF-8.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise OSError(getattr(error, "strerror", None) or "it is no path") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is no regular file")
    with open(descriptor, "rb") as file:
        content = file.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise OSError(f"it is longer than {bytes_max:,} bytes")
    if content.startswith(_UTF16_MARKS):  # Latin-1 would be letters with nothing between them
        raise OSError("it is UTF-16: save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if or_latin_1:
            return content.decode("latin-1")
        raise OSError(_NOT_UTF8) from error
