"""The command on a terminal of its own, as somebody sits before it: what it draws, and keys that are pressed."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

PATIENCE_S = 60.0
ENTER, LEAVE, HOME = "\x1b[?1049h", "\x1b[?1049l", "\x1b[H"
_COLOUR = re.compile("\x1b\\[[0-9;]*m")


class Terminal:
    """A process on a terminal. `drawn` grows with all that it writes there."""

    def __init__(self, keyboard: int, process: asyncio.subprocess.Process) -> None:
        self._keyboard = keyboard
        self._process = process
        self._news = asyncio.Event()
        self.drawn = ""
        asyncio.get_running_loop().add_reader(keyboard, self._read)

    def _read(self) -> None:
        try:
            self.drawn += os.read(self._keyboard, 1 << 16).decode(errors="replace")
        except OSError:  # the last process has closed it
            asyncio.get_running_loop().remove_reader(self._keyboard)
        self._news.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._news.clear()
                await self._news.wait()

    @property
    def frame(self) -> list[str]:
        """The lines of the newest whole picture, without colours."""
        pictures = self.drawn.partition(LEAVE)[0].split(HOME)[1:]
        whole = [each for each in pictures if each.endswith("\x1b[J")]
        return [line.removesuffix("\x1b[K") for line in self._plain(whole[-1]).split("\r\n")] if whole else []

    @property
    def left_behind(self) -> str:
        """What stands there once it has ended."""
        return self._plain(self.drawn.partition(LEAVE)[2])

    @staticmethod
    def _plain(text: str) -> str:
        return _COLOUR.sub("", text).removesuffix("\x1b[J")

    def press(self, keys: str) -> None:
        """As if somebody typed them."""
        os.write(self._keyboard, keys.encode())

    def send(self, wish: signal.Signals) -> None:
        """To the process alone."""
        self._process.send_signal(wish)

    def resize(self, lines: int, columns: int) -> None:
        """As if its window was drawn to another size."""
        fcntl.ioctl(self._keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    async def shows(self, text: str) -> None:
        """Waits until it is in the newest picture."""
        await self._until(lambda: any(text in line for line in self.frame))

    async def another(self) -> None:
        """Waits for a further picture."""
        seen = self.drawn.count(HOME)
        await self._until(lambda: self.drawn.count(HOME) > seen)

    async def ends(self) -> int:
        """Its exit code."""
        await self._until(lambda: LEAVE in self.drawn)
        async with asyncio.timeout(PATIENCE_S):
            return await self._process.wait()

    def is_echoing(self) -> bool:
        """Whether keys are shown again, as before."""
        return bool(termios.tcgetattr(self._keyboard)[3] & termios.ECHO)


def _before_it() -> None:
    """As a shell does with what it starts before somebody's eyes: tests in the background are deaf to Ctrl-C."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@asynccontextmanager
async def at_terminal(
    endpoints: Path, *arguments: str, lines: int = 24, columns: int = 80, **environment: str
) -> AsyncIterator[Terminal]:
    """The command there; ended at the end, if it has not."""
    keyboard, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fasttree.command",
        *arguments,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**inherited, "TERM": "xterm", "FASTTREE_ENDPOINTS": str(endpoints), **environment},
        start_new_session=True,
        preexec_fn=_before_it,
    )
    try:
        yield Terminal(keyboard, process)
    finally:
        asyncio.get_running_loop().remove_reader(keyboard)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        os.close(keyboard)
        os.close(terminal)
