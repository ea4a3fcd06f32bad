"""What a terminal would obey, or show as something else, is spelled out: the one home of that for all that is printed.

Names, texts, reasons and errors come from files, members and other machines. `Plain` stands in the place of standard
output and standard error, so whatever a command prints goes through it; values that must stay on one line go through
`on_one_line` before. In JSON the spelling means the same text.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

# Controls but tab and line break, of ASCII and of Latin-1; line ends of Unicode; what turns text about; bytes of a
# file's name that are no UTF-8, which Python tells as lone surrogates and can't write down.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def _spelled(character: str) -> str:
    return _NAMED.get(character) or (f"\\x{ord(character):02x}" if character < "\x7f" else f"\\u{ord(character):04x}")


def unobeyed(text: str) -> str:
    """A text whose characters are shown and not obeyed, but for its line breaks and tabs."""
    return _OBEYED.sub(lambda found: _spelled(found[0]), text)


def on_one_line(text: str) -> str:
    """A value on one line: a line break is shown as \\n, as people write it."""
    if text.isprintable():
        return text
    return unobeyed(text.replace("\n", "\\n").replace("\t", "\\t"))


class OutputError(Exception):
    """What is printed can't be written: a full disk, say."""


class Plain(io.TextIOWrapper):
    """A standard stream. Raises OutputError, or BrokenPipeError where whoever reads it has enough."""

    def write(self, text: str) -> int:
        """What is printed, with what would be obeyed spelled out."""
        return self.write_raw(unobeyed(text))

    def write_raw(self, text: str) -> int:
        """What moves the cursor on purpose, and data for a file, which has to stay as it is."""
        with self._told():
            return super().write(text)

    def flush(self) -> None:
        with self._told():
            super().flush()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"what is printed can't be written: {error.strerror or error}") from None


def write_raw(stream: TextIO, text: str) -> int:
    """To a standard stream, as it is."""
    return stream.write_raw(text) if isinstance(stream, Plain) else stream.write(text)


def guard_output() -> None:
    """From here on nothing else is printed."""
    sys.stdout, sys.stderr = _plain(sys.stdout), _plain(sys.stderr)


def _plain(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, Plain):
        return stream
    stream.flush()
    return Plain(
        stream.buffer,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
