"""What a target is, and the list that modules of targets add theirs to."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

Run = Callable[[bytes], object]


class Target(NamedTuple):
    """One parser."""

    #: Its module and its name there, such as "http2.server".
    name: str
    #: Called once in the process that fuzzes; returns what is given each input.
    prepared: Callable[[], Run]
    #: What it may raise: errors that are meant for whoever sent that.
    refusals: tuple[type[Exception], ...] = ()
    #: Makes the inputs to begin with: good ones, most of all.
    seeds: Callable[[], Sequence[bytes]] = tuple
    #: Bytes of an input.
    length_max: int = 4_096

    def run(self) -> Run:
        """What is given each input; what it may raise is taken."""
        run, refusals = self.prepared(), self.refusals

        def once(data: bytes) -> None:
            try:
                run(data)
            except refusals as error:
                _check_words(error)

        return once


def _check_words(error: Exception) -> None:
    said = str(error)
    assert said, f"{type(error).__name__} says nothing"
    assert "Traceback" not in said


def pieces(data: bytes) -> list[bytes]:
    """An input cut into pieces, where its first byte says: parsers get what comes in any number of them."""
    if not data:
        return []
    size = data[0] or 256
    rest = data[1:]
    return [rest[start : start + size] for start in range(0, len(rest), size)]


def scratch(name: str = "input") -> Path:
    """Where an input is put to be read: in a folder that goes with the process, in memory where that can be."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="fasttree-fuzz-", dir=memory if memory.is_dir() else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / name
