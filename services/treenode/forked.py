"""Runs work in a forked child: it sees the memory as it was at the fork, while this process goes on changing it.

The kernel copies a page only when this process writes to it ("copy on write"), so a child can write tens of gigabytes
to disk from one exact state without holding anybody up; what it costs here is the fork itself, which copies page
tables.

The child inherits one thread only. Locks that other threads held at the fork stay locked in it for good, so the work
may use nothing that could need one: arrays, `os` calls, hashes; no logging, no gRPC, no thread pools.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import pickle
import signal
import struct
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_LENGTH = struct.Struct("<Q")
_PR_SET_PDEATHSIG = 1
#: Loaded before any fork: the child should load nothing.
_LIBC = ctypes.CDLL(None, use_errno=True)
RESULT_BYTES_MAX = 64 * 1024**2


class ForkedWorkError(Exception):
    """The work failed, or its process did. The text says how."""


class ForkedWork(Generic[T]):
    """Work that runs in a forked child: begun in the constructor, which returns at once; await `result` soon after.

    Args:
        work: See the limits above; its result must be picklable and small.
        close_fds: File descriptors of this process that the child must not hold open (locks).
    """

    def __init__(self, work: Callable[[], T], close_fds: Sequence[int] = ()) -> None:
        self._reading, writing = os.pipe()
        parent = os.getpid()
        self._child = os.fork()
        if self._child == 0:
            _be_child(work, parent, self._reading, writing, close_fds)
        os.close(writing)
        self._pid_fd = os.pidfd_open(self._child)

    async def result(self, timeout_s: float) -> T:
        """What the work returned; the child is gone then.

        Raises:
            ForkedWorkError: The work raised, its process died, or took longer than `timeout_s` and was killed.
        """
        try:
            async with asyncio.timeout(timeout_s):
                value: T = await _collect(self._child, self._reading)
                return value
        except TimeoutError:
            text = f"process {self._child} took longer than {timeout_s:g} s and was ended"
            raise ForkedWorkError(text) from None
        finally:
            os.close(self._reading)
            await asyncio.shield(_end(self._child, self._pid_fd))


def _be_child(work: Callable[[], Any], parent: int, reading: int, writing: int, close_fds: Sequence[int]) -> None:
    """What the child does; never returns."""
    code = 1
    try:
        # Ends with its parent: a restarted node must not meet a writer of its former life.
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
        os.close(reading)
        for fd in close_fds:
            os.close(fd)
        if os.getppid() != parent:
            os._exit(1)
        with contextlib.suppress(OSError):
            os.nice(5)
        try:
            answer = (True, work())
        except BaseException as error:
            answer = (False, f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
        body = pickle.dumps(answer)
        view = memoryview(_LENGTH.pack(len(body)) + body)
        while view:
            view = view[os.write(writing, view) :]
        code = 0
    finally:
        os._exit(code)


async def _collect(child: int, reading: int) -> Any:
    """The child's answer, once it is there."""
    loop = asyncio.get_running_loop()
    os.set_blocking(reading, False)
    received = bytearray()
    ended = asyncio.Event()
    more = asyncio.Event()

    def read() -> None:
        with contextlib.suppress(BlockingIOError):
            piece = os.read(reading, 1 << 16)
            received.extend(piece)
            if not piece or len(received) > RESULT_BYTES_MAX:
                ended.set()
        more.set()

    loop.add_reader(reading, read)
    try:
        while not ended.is_set() and not _complete(received):
            more.clear()
            await more.wait()
    finally:
        loop.remove_reader(reading)
    if not _complete(received):
        raise ForkedWorkError(f"process {child} died without an answer")
    good, value = pickle.loads(bytes(received[_LENGTH.size :]))
    if not good:
        raise ForkedWorkError(value)
    return value


def _complete(received: bytearray) -> bool:
    return len(received) >= _LENGTH.size and len(received) >= _LENGTH.size + _LENGTH.unpack_from(received)[0]


async def _end(child: int, pid_fd: int) -> None:
    """Ends the child if it still runs, and collects it; a large one takes a while to go, which holds nobody up here."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pid_fd, signal.SIGKILL)
    gone = asyncio.Event()
    loop.add_reader(pid_fd, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(pid_fd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, os.WNOHANG)  # noqa: ASYNC222 - does not wait: the process has ended
        os.close(pid_fd)
