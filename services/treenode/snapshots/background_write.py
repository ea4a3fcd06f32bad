"""Writes arrays to a file from a forked child: the file gets the memory as it was at the fork, while this process goes
on changing it.

The kernel copies a page only when this process writes to it ("copy on write"). What a fork costs here is the copy of
the page tables; nothing waits for the disk.

The child is one compiled function that calls the C library and nothing else. Not a line of Python runs in it: other
threads' locks stay locked in a forked child for good, and a garbage collection there would destroy gRPC objects whose
threads are gone. `_Fork` (glibc 2.34) leaves out the fork handlers of libraries, which are no business of such a
child.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from services.treenode.tree.kernels.kernel import kernel_with_gil

_PR_SET_PDEATHSIG = 1
#: A file that has no disk under it can't be synchronized: nothing is lost by that.
_EINVAL = 22
#: Behind the node itself, whenever both want the processor.
_NICE = 5
#: One call writes this much at most, and has the disk take it before the next: a disk that is kept busy with gigabytes
#: would hold up the log of a pusher on the same machine.
_PIECE_BYTES = 16 * 1024**2

_pointer: Any = types.CPointer
_fork: Any = types.ExternalFunction("_Fork", types.int32())
_getppid: Any = types.ExternalFunction("getppid", types.int32())
_prctl: Any = types.ExternalFunction(
    "prctl", types.int32(types.int32, types.uint64, types.uint64, types.uint64, types.uint64)
)
_nice: Any = types.ExternalFunction("nice", types.int32(types.int32))
_pwrite: Any = types.ExternalFunction("pwrite", types.int64(types.int32, types.uint64, types.uint64, types.int64))
_fdatasync: Any = types.ExternalFunction("fdatasync", types.int32(types.int32))
_errno: Any = types.ExternalFunction("__errno_location", _pointer(types.int32)())
_exit: Any = types.ExternalFunction("_exit", types.void(types.int32))


class BackgroundWriteError(OSError):
    """The file could not be written; errno says why where the disk did."""


@kernel_with_gil
def _write_in_child(
    parent: int,
    descriptor: int,
    addresses: npt.NDArray[np.uint64],
    sizes_bytes: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
) -> int:
    """Forks; returns the child's process id, or -errno. The child writes the pieces and ends with errno, or 0.

    `addresses`, `sizes_bytes`: where each piece lies in memory, (n,); `offsets`: where it goes in the file.
    """
    child = _fork()
    if child < 0:
        return -int(_errno()[0])
    if child > 0:
        return int(child)
    # Ends with its parent: a restarted node must not meet a writer of its former life.
    _prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)
    if _getppid() != parent:
        _exit(1)
    _nice(_NICE)
    for index in range(addresses.shape[0]):
        done = 0
        while done < sizes_bytes[index]:
            size_bytes = min(sizes_bytes[index] - done, _PIECE_BYTES)
            written = _pwrite(descriptor, addresses[index] + np.uint64(done), size_bytes, offsets[index] + done)
            if written <= 0:
                _exit(max(1, int(_errno()[0])))
            done += written
            if _fdatasync(descriptor) < 0 and _errno()[0] != _EINVAL:
                _exit(max(1, int(_errno()[0])))
    _exit(0)
    return 0


class BackgroundWrite:
    """One write under way: begun in the constructor, which returns at once; await `finished` soon after."""

    def __init__(self, descriptor: int, pieces: Sequence[tuple[npt.NDArray[Any], int]]) -> None:
        """Writes the pieces (contiguous arrays, each with its offset in the file) as they are now.

        Raises:
            BackgroundWriteError: No process could be made.
        """
        child = int(
            _write_in_child(
                os.getpid(),
                descriptor,
                np.array([piece.ctypes.data for piece, _ in pieces], dtype=np.uint64),
                np.array([piece.nbytes for piece, _ in pieces], dtype=np.int64),
                np.array([offset for _, offset in pieces], dtype=np.int64),
            )
        )
        if child < 0:
            raise BackgroundWriteError(-child, f"no process to write in: {os.strerror(-child)}")
        self._child = child
        self._pid_fd = os.pidfd_open(child)

    async def finished(self, timeout_s: float) -> None:
        """Returns once all is written; the child is gone then.

        Raises:
            BackgroundWriteError: The disk, the child was killed, or it took longer than `timeout_s` and was ended.
        """
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pid_fd, ended.set)
        try:
            async with asyncio.timeout(timeout_s):
                await ended.wait()
        except TimeoutError:
            raise BackgroundWriteError(f"took longer than {timeout_s:g} s and was ended") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pid_fd, signal.SIGKILL)
            if not ended.is_set():
                await asyncio.shield(ended.wait())
            loop.remove_reader(self._pid_fd)
            os.close(self._pid_fd)
            _, status = os.waitpid(self._child, 0)  # noqa: ASYNC222 - does not wait: the process has ended
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            raise BackgroundWriteError(f"the writing process was ended by signal {-code}")
        if code > 0:
            raise BackgroundWriteError(code, os.strerror(code))


def warm_up() -> None:
    """Compiles what forks, so that the first snapshot doesn't wait for it. Blocks."""
    with open(os.devnull, "wb") as nowhere:
        child = int(
            _write_in_child(
                os.getpid(), nowhere.fileno(), np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64)
            )
        )
    if child > 0:
        os.waitpid(child, 0)
