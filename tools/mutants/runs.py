"""How mutants are run: forks of a process that has collected the tests of a room, and run them once unchanged."""

from __future__ import annotations

import ast
import contextlib
import json
import math
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import IO, Any, NamedTuple

import hypothesis
import pytest

from tools.mutants.mutations import Mutant
from tools.mutants.patching import put_in

#: A mutant that eats memory is noticed, not the machine's end.
_DATA_BYTES_MAX = 4 << 30
_POLL_S = 0.005
#: A mutant may take so many times the time of its tests unchanged, and so much longer.
_SLOWER_TIMES = 5
_SLOWER_S = 10.0


class Verdict(Enum):
    """What became of a mutant."""

    NOTICED = "noticed"
    #: Noticed as well: a test that goes on for ever has failed.
    TOO_SLOW = "too slow"
    SURVIVED = "survived"
    #: Survived as well: no test of the room goes there.
    NOT_REACHED = "not reached"


class RoomError(Exception):
    """The room's tests fail with nothing changed. Holds what they said."""


class Changed(NamedTuple):
    """A mutant and where it belongs."""

    module: str
    path: Path
    #: The module's tree, in which the mutant can be applied.
    tree: ast.Module
    mutant: Mutant


class Test(NamedTuple):
    """A test of a room, as it ran unchanged."""

    item: pytest.Item
    took_s: float
    #: The functions that it entered, as `path` and name.
    entered: frozenset[tuple[str, str]]


def verdicts(
    changes: Sequence[Changed], tests: Sequence[str], jobs: int, test_s_max: float = math.inf
) -> Iterator[tuple[str, Verdict]]:
    """Runs the mutants of one room, so many at a time; yields the name of each, and what became of it. Tests that take
    longer than `test_s_max` unchanged are left out.

    Raises:
        RoomError: The tests fail unchanged, or none is there.
    """
    with tempfile.TemporaryFile("w+") as said:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            _be_the_room(_Room(changes, jobs, test_s_max, os.fdopen(writing, "w")), tests, said)
        os.close(writing)
        with os.fdopen(reading) as lines:
            for line in lines:
                name, verdict = json.loads(line)
                yield name, Verdict(verdict)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
            said.seek(0)
            raise RoomError(said.read()[-4_000:])


def _be_the_room(room: _Room, tests: Sequence[str], said: IO[str]) -> None:
    code = 1
    try:
        for descriptor in (1, 2):
            os.dup2(said.fileno(), descriptor)
        # The same stories every time, none kept, the first failing one is enough.
        hypothesis.settings.register_profile(
            "mutants",
            derandomize=True,
            database=None,
            deadline=None,
            phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        hypothesis.settings.load_profile("mutants")
        plugins = ["-p", "no:cacheprovider", "-p", "no:xdist", "-o", "timeout=0"]
        code = pytest.main(["-x", "-q", "--no-header", "--capture=sys", *plugins, *tests], plugins=[room])
        code = 0 if room.done else int(code) or 1
    finally:
        os._exit(code)


class _Room:
    """Takes the place of pytest's own loop."""

    def __init__(self, changes: Sequence[Changed], jobs: int, test_s_max: float, verdicts_to: IO[str]) -> None:
        self._changes, self._jobs, self._verdicts_to = changes, jobs, verdicts_to
        self._test_s_max = test_s_max
        self.done = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Runs the tests once unchanged, then those of each mutant in a fork of its own."""
        if session.testsfailed or not session.items:
            raise session.Interrupted("nothing collected, or not all of it")
        tests = [test for test in self._unchanged(session) if test.took_s <= self._test_s_max]
        if session.testsfailed:
            return True
        # In a fork they have to pass as well, or every mutant would seem noticed.
        control = self._changes[0]._replace(mutant=replace(self._changes[0].mutant, apply=lambda: None))
        if [verdict for _, verdict in self._forks(session, tests, [control])] == [Verdict.NOTICED]:
            raise session.Failed("unchanged, the tests fail in a fork")
        for name, verdict in self._forks(session, tests, self._changes):
            print(json.dumps([name, verdict.value]), file=self._verdicts_to, flush=True)
        self.done = True
        return True

    def _unchanged(self, session: pytest.Session) -> Iterator[Test]:
        paths = {str(change.path): change.mutant.path for change in self._changes}
        for item, following in _with_next(session.items):
            entered: set[tuple[str, str]] = set()

            def enter(frame: FrameType, event: str, _: Any, entered: set[tuple[str, str]] = entered) -> None:
                if event == "call" and (path := paths.get(frame.f_code.co_filename)):
                    entered.add((path, frame.f_code.co_qualname.replace("<locals>.", "")))

            started = time.monotonic()
            threading.setprofile(enter)
            sys.setprofile(enter)
            _run(item, following)
            sys.setprofile(None)
            threading.setprofile(None)
            if session.testsfailed:
                return
            yield Test(item, time.monotonic() - started, frozenset(entered))

    def _forks(
        self, session: pytest.Session, tests: list[Test], changes: Iterable[Changed]
    ) -> Iterator[tuple[str, Verdict]]:
        running: dict[int, tuple[str, float]] = {}
        waiting = iter(changes)
        more = True
        while more or running:
            while more and len(running) < self._jobs:
                if (change := next(waiting, None)) is None:
                    more = False
                elif chosen := _tests_of(change.mutant, tests):
                    ends_at = time.monotonic() + _SLOWER_S + _SLOWER_TIMES * sum(test.took_s for test in chosen)
                    running[_fork(session, change, chosen)] = (change.mutant.name, ends_at)
                else:
                    yield change.mutant.name, Verdict.NOT_REACHED
            for child, (name, ends_at) in list(running.items()):
                if (verdict := _verdict(child, ends_at)) is not None:
                    del running[child]
                    yield name, verdict
            time.sleep(_POLL_S)


def _tests_of(mutant: Mutant, tests: list[Test]) -> list[Test]:
    """Those that enter its function, quickest first."""
    chosen = [test for test in tests if mutant.function == "module" or (mutant.path, mutant.function) in test.entered]
    return sorted(chosen, key=lambda test: test.took_s)


def _fork(session: pytest.Session, change: Changed, chosen: list[Test]) -> int:
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
        change.mutant.apply()
        put_in(sys.modules[change.module], change.tree, change.mutant.line, change.mutant.function)
        for item, following in _with_next([test.item for test in chosen]):
            _run(item, following)
            if session.testsfailed or session.shouldfail:
                os._exit(1)
        code = 0
    finally:
        os._exit(code)


def _verdict(child: int, ends_at: float) -> Verdict | None:
    """What became of a fork; None while it runs and may."""
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        return Verdict.NOTICED if os.waitstatus_to_exitcode(status) else Verdict.SURVIVED
    if time.monotonic() < ends_at:
        return None
    # Its group: whatever it started goes with it.
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return Verdict.TOO_SLOW


def _with_next(items: Iterable[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    """Each with the one after it, by which pytest knows what it may take down in between."""
    listed = list(items)
    yield from zip(listed, [*listed[1:], None], strict=True)


def _run(item: pytest.Item, following: pytest.Item | None) -> None:
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
