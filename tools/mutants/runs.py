"""How a mutant is run: the tests of its room, in a fork that has the mutant in its module's place."""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

#: Slow to import, and the same for every mutant.
_IMPORTED_BEFORE = (
    "pytest",
    "hypothesis.stateful",
    "numpy",
    "numba",
    "grpc.aio",
    "fasttree.v1.types_pb2",
    "fasttree.v1",
)
#: A mutant that eats memory is noticed, not the machine's end.
_DATA_BYTES_MAX = 4 << 30
_POLL_S = 0.01


class Verdict(Enum):
    """What became of a mutant."""

    NOTICED = "noticed"
    #: Noticed as well: a test that goes on for ever has failed.
    TOO_SLOW = "too slow"
    SURVIVED = "survived"


class Run(NamedTuple):
    """The tests of a room, with one module made anew."""

    #: Names it in the verdicts.
    name: str
    module: str
    path: Path
    #: The module's code, made in the fork: what it changes on the way is gone with it.
    code: Callable[[], CodeType]
    tests: tuple[str, ...]
    timeout_s: float


def prepare() -> None:
    """Imports what every run needs. To be called before the first run, in a process without threads."""
    for name in _IMPORTED_BEFORE:
        importlib.import_module(name)


def verdicts(runs: Iterable[Run], jobs: int) -> Iterator[tuple[str, Verdict, float]]:
    """Runs all, so many at a time; yields name, verdict and seconds of each as it ends."""
    waiting = iter(runs)
    running: dict[int, tuple[Run, float]] = {}
    more = True
    while more or running:
        while more and len(running) < jobs:
            run = next(waiting, None)
            more = run is not None
            if run is not None:
                running[_start(run)] = (run, time.monotonic())
        for child, (run, started) in list(running.items()):
            took_s = time.monotonic() - started
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                verdict = Verdict.NOTICED if os.waitstatus_to_exitcode(status) else Verdict.SURVIVED
            elif took_s < run.timeout_s:
                continue
            else:
                # Its group: whatever it started goes with it.
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                verdict = Verdict.TOO_SLOW
            del running[child]
            yield run.name, verdict, took_s
        time.sleep(_POLL_S)


def _start(run: Run) -> int:
    child = os.fork()
    if child:
        # Here too: whoever comes first.
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(child, child)
        return child
    code = 1
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_DATA, (_DATA_BYTES_MAX, _DATA_BYTES_MAX))
        silence = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silence, descriptor)
        sys.meta_path.insert(0, _OneModule(run))
        code = _pytest(run.tests)
    finally:
        os._exit(code)


def _pytest(tests: tuple[str, ...]) -> int:
    import hypothesis
    import pytest

    # The same stories every time, none kept, the first failing one is enough.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, phases=phases)
    hypothesis.settings.load_profile("mutants")
    return int(pytest.main(["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))


class _OneModule(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module, and makes it from other code than its file's."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """See importlib."""
        if fullname != self._run.module:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=str(self._run.path))
        spec.has_location = True
        return spec

    def exec_module(self, module: ModuleType) -> None:
        """See importlib."""
        exec(self._run.code(), module.__dict__)
