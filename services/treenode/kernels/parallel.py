"""Compiles kernels into the cache in as many processes as there are processors.

One process finds out which kernels there are (`signatures.py`), the others compile them (`worker.py`). None of them is
needed: whatever is not in the cache in the end, because a process could not be started or was killed, is compiled by
the process that calls it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from services.shared.python_process import python_command

#: How often it is told how far it is, in seconds.
TELL_EVERY_S = 5.0
#: Another process that compiles the same is waited for so long, in seconds: one that is frozen has the lock for good.
WAIT_S_MAX = 600.0
_POLL_S = 0.1


@contextlib.contextmanager
def one_at_a_time(folder: Path, tell: Callable[[str], None], wait_s_max: float = WAIT_S_MAX) -> Iterator[None]:
    """Holds the folder's lock, as far as there can be one: two nodes that start together compile each kernel once. The
    lock of a process that is gone is gone."""
    with contextlib.ExitStack() as held:
        try:
            lock = held.enter_context((folder / "compiling").open("a"))
            _lock(lock, tell, wait_s_max)
        except OSError:
            pass  # a folder of somebody else, a full disk, a file system without locks: compiled twice, and right
        yield


def _lock(lock: IO[str], tell: Callable[[str], None], wait_s_max: float) -> None:
    end_s = time.monotonic() + wait_s_max
    told = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end_s:
                tell("another process has compiled for too long: does not wait for it any more")
                return
            if not told:
                tell("another process compiles the kernels: waits for it")
                told = True
            time.sleep(_POLL_S)


class Queue:
    """The kernels that nobody compiles yet. For several threads."""

    def __init__(self) -> None:
        self._by_module: dict[str, list[str]] = {}
        self._begun: set[str] = set()
        self._changed = threading.Condition()
        self._complete = False
        self._found = 0

    def add(self, line: str) -> None:
        """A line of `signatures.py`."""
        with self._changed:
            waiting = self._by_module.setdefault(line.split()[0], [])
            waiting.append(line)
            waiting.sort(key=len)
            self._found += 1
            self._changed.notify()

    def end(self) -> None:
        """No more will be added."""
        with self._changed:
            self._complete = True
            self._changed.notify_all()

    @property
    def total(self) -> int | None:
        """How many there are; None as long as that is not known."""
        with self._changed:
            return self._found if self._complete else None

    def take(self, module: str) -> str | None:
        """The line of the next kernel, of `module` if there is one; None: there will be none. Blocks.

        A process stays with a module as long as it can: what kernels of one module call, it has compiled already. Else
        it takes the largest module that nobody has begun, or helps with the one that has most left.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._complete or any(self._by_module.values()))
            if not self._by_module.get(module):
                waiting = [name for name, lines in self._by_module.items() if lines]
                if not waiting:
                    return None
                module = max(waiting, key=lambda name: (name not in self._begun, sum(map(len, self._by_module[name]))))
            self._begun.add(module)
            return self._by_module[module].pop()


class _Progress:
    """Tells how far it is."""

    def __init__(self, kernels: Queue, tell: Callable[[str], None]) -> None:
        self._kernels = kernels
        self._started_s = self._told_s = time.monotonic()
        self._tell = tell
        self._lock = threading.Lock()
        self._done = 0

    def done(self) -> None:
        """One more is compiled."""
        with self._lock:
            self._done += 1
            now_s = time.monotonic()
            if now_s - self._told_s >= TELL_EVERY_S:
                self._told_s = now_s
                total = self._kernels.total
                share = f"{self._done} of {total} kernels" if total is not None else f"{self._done} kernels"
                self._tell(f"{share} after {now_s - self._started_s:.0f} s")


def compile_in_processes(processes: int, tell: Callable[[str], None]) -> None:
    """Compiles every kernel that a node needs, as far as processes can be had. Blocks, for a minute or so.

    Args:
        processes: How many compile at one time.
        tell: Gets a line now and then, from any thread.
    """
    try:
        finder = _start("signatures", NUMBA_DISABLE_JIT="1")
    except OSError as error:
        tell(f"no other process can be started ({error.strerror or error}): this one compiles all")
        return
    tell(f"with {processes} processes")
    kernels = Queue()
    progress = _Progress(kernels, tell)
    threads = [threading.Thread(target=_have_compiled, args=(kernels, progress)) for _ in range(processes)]
    for thread in threads:
        thread.start()
    with finder:
        assert finder.stdout is not None
        for line in finder.stdout:
            # The last line of one that is killed may be a part.
            if line.endswith("\n"):
                kernels.add(line)
    kernels.end()
    for thread in threads:
        thread.join()


def _start(module: str, **environment: str) -> subprocess.Popen[str]:
    """A process of this package that is spoken with line by line.

    Raises:
        OSError: There can't be one.
    """
    return subprocess.Popen(
        python_command(f"{__package__}.{module}"),
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _have_compiled(kernels: Queue, progress: _Progress) -> None:
    """Hands a process of its own one kernel after another, until none is left or the process is gone."""
    try:
        worker = _start("worker")
    except OSError:
        return
    assert worker.stdin is not None
    assert worker.stdout is not None
    line: str | None = ""
    # At its end its input is closed, by which it ends, and it is waited for.
    with contextlib.suppress(BrokenPipeError), worker:
        while line is not None:
            line = kernels.take(line.partition(" ")[0])
            if line is not None:
                worker.stdin.write(line)
                worker.stdin.flush()
                if not worker.stdout.readline():
                    return
                progress.done()
