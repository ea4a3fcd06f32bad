"""Kernels that are compiled now instead of being loaded from the cache: that takes seconds each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import event


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
