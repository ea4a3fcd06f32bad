"""How a message shows the value that it refuses, says what went wrong with a file, and says a number of things."""

from __future__ import annotations

import errno
import re
from typing import Final

_SHOWN_CHARACTERS = 48
#: What has no shape of its own, or turns others about, as a class of a pattern. Not as `str.isprintable` has it: that
#: changes from one Python to the next, and what a node says of an update that it rejects is part of its digest.
SHAPELESS: Final = (
    r"\x00-\x1f\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff9-\ufffb"
)
#: Also bytes of a file's name that are no UTF-8, which Python tells as lone surrogates and can't write down.
_SHAPELESS = re.compile(f"[{SHAPELESS}\\ud800-\\udfff]")
#: A disk, or a share of one, that is full.
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
ROOM_MEND: Final = "make room there"
RIGHTS_MEND: Final = "mend the rights there"
DISK_MEND: Final = "look after that disk"
_MENDS: Final = {
    **dict.fromkeys((*NO_ROOM, errno.EFBIG), ROOM_MEND),
    **dict.fromkeys((errno.EACCES, errno.EPERM), RIGHTS_MEND),
    errno.EROFS: "have it mounted so that it can be written",
    errno.ENOENT: "bring that folder back",
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "move that file away"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow this process more open files"),
    **dict.fromkeys((errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT), "look after the mount"),
}


def is_plain(text: str) -> bool:
    """Whether every character of a text can be seen, spaces among them."""
    return (text.isascii() and text.isprintable()) or _SHAPELESS.search(text) is None


def plain(text: str) -> str:
    """A text on one line, with what can't be seen spelled out."""
    return _SHAPELESS.sub(_spelled, text)


def _spelled(found: re.Match[str]) -> str:
    """As hexadecimal digits: what stands for a byte (as Python's surrogateescape has it) as that byte."""
    code = ord(found[0])
    return f"\\x{code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code:02x}"


def quoted(text: str) -> str:
    """A value in quotes, on one line, cut where it is long."""
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    return f'"{plain(cut)}"'


def quoted_bytes(field: bytes) -> str:
    """The same of a value that may be no UTF-8."""
    return quoted(field[: _SHOWN_CHARACTERS * 4].decode("utf-8", "backslashreplace"))


def system_words(error: BaseException) -> str:
    """An error in words for people: the system's with its file and without its number, any other as it is."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def with_mend(error: OSError) -> str:
    """What went wrong with a file, and what ends that: "No space left on device; make room there"."""
    number = error.errno or (errno.EEXIST if isinstance(error, FileExistsError) else 0)
    return f"{system_words(error)}; {_MENDS.get(number, DISK_MEND)}"


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, and with its verb where the message has one: "1 row was", "2,000 rows were".

    `many`: what follows any other number than 1; without it, `one` and an s. The client has its own, since it imports
    nothing of the services.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
