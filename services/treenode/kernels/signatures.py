"""Which kernels a node needs, for which types: found by running everything once as plain Python.

    NUMBA_DISABLE_JIT=1 python -m services.treenode.kernels.signatures

Kernels are compiled for the types that they are called with, and only their callers know those. Nothing is compiled to
find them here, so it takes a second or two; what it prints, one line a kernel, is for `worker.py`. A kernel that only
kernels call is not among them: it is compiled with its callers.
"""

from __future__ import annotations

import base64
import pickle
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numba
from numba.core.types import ExternalFunction

#: A kernel as `worker.py` takes it: the kernel's module, its name, and the types of its arguments.
Wanted = tuple[str, str, tuple[Any, ...]]


def line_of(wanted: Wanted) -> str:
    """One line of ASCII, the module first; the longer, the more there is to compile."""
    return f"{wanted[0]} {base64.b64encode(pickle.dumps(wanted)).decode()}"


def wanted_of(line: str) -> Wanted:
    """The kernel of a line that `line_of` made, in a process of our own."""
    wanted: Wanted = pickle.loads(base64.b64decode(line.split()[1]))
    return wanted


_typeof: Any = numba.typeof


def _is_of_c(function: Any) -> bool:
    """Whether it calls the C library by itself, which plain Python can't."""
    names = function.__code__.co_names
    return any(isinstance(function.__globals__.get(name), ExternalFunction) for name in names)


class _Recorder:
    """Stands in for `numba.njit`: functions stay what they are, and each call from outside of kernels is noted."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._found: set[Wanted] = set()
        self._lock = threading.Lock()
        self._under_way = threading.local()

    def njit(self, **_: Any) -> Callable[[Any], Any]:
        return self._noted

    def _noted(self, function: Any) -> Any:
        def noted(*arguments: Any) -> Any:
            if getattr(self._under_way, "kernel", False):
                return function(*arguments)
            types = tuple(_typeof(argument) for argument in arguments)
            wanted = (function.__module__, function.__qualname__, types)
            with self._lock:  # some are called in threads
                if wanted not in self._found:
                    self._found.add(wanted)
                    self._tell(line_of(wanted))
            if _is_of_c(function):
                return 0
            self._under_way.kernel = True
            try:
                return function(*arguments)
            finally:
                self._under_way.kernel = False

        return noted


def main() -> None:
    """Prints each as it is found."""

    def tell(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    recorder = _Recorder(tell)
    vars(numba)["njit"] = recorder.njit
    # Sums that wrap are meant; as plain Python they are warned of.
    warnings.simplefilter("ignore")

    from services.treenode.kernels.warm_up import warm_up_imports, warm_up_node

    warm_up_imports()
    warm_up_node()


if __name__ == "__main__":
    main()
