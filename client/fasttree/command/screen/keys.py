"""Keys of a terminal, each as it is pressed."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pressed(key: str) -> Iterator[asyncio.Event]:
    """Is set once that key is pressed; never, where nobody types. The terminal is given back as it was."""
    event = asyncio.Event()
    if not _is_ours():
        yield event
        return
    descriptor, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    before = termios.tcgetattr(descriptor)

    def read() -> None:
        typed = os.read(descriptor, 1_024)
        if not typed:  # the terminal is gone
            loop.remove_reader(descriptor)
        if key.encode() in typed or not typed:
            event.set()

    tty.setcbreak(descriptor)  # Ctrl-C goes on being one
    loop.add_reader(descriptor, read)
    try:
        yield event
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _is_ours() -> bool:
    """Whether somebody types to this process, and not to another one of the same terminal."""
    if not sys.stdin.isatty():
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:  # it is nobody's controlling terminal
        return True
