"""Kernels that are compiled now instead of being loaded from the cache: that takes seconds each."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from numba.core import event

_config: Any = numba.config


class _Listener(event.Listener):
    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def on_start(self, event: Any) -> None:
        dispatcher = event.data["dispatcher"]
        self._tell(f"{dispatcher.py_func.__module__}.{dispatcher.py_func.__qualname__}")

    def on_end(self, event: Any) -> None:
        """Only beginnings are told."""


def tell_compiling(tell: Callable[[str], None]) -> None:
    """From now on `tell` gets the name of each kernel that this process compiles, as it begins."""
    event.register("numba:compile", _Listener(tell))  # type: ignore[no-untyped-call]


def cache_folder() -> Path:
    """Where this version's compiled kernels are, as `tree/kernel.py` set it."""
    return Path(str(_config.CACHE_DIR))


def everything_is_cached() -> bool:
    """Whether `warm_up` has compiled every kernel: loading them is all that is left then."""
    return (cache_folder() / "complete").exists()


@contextlib.contextmanager
def compiling_alone() -> Iterator[None]:
    """One process of this machine at a time, unless there is nothing to compile.

    Numba names a kernel's files by counting those that are there, so two processes that compile for different types at
    one time write the same file, and one of them would later run the other's code. Blocks. Not to be nested.
    """
    if everything_is_cached() or not _config.CACHE_DIR:
        yield
        return
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        lock = (cache_folder() / "lock").open("w")
    except OSError:
        # What can't be written is compiled by each process for itself.
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
