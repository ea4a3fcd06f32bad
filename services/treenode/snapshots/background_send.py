"""As `background_write.py`, into a pipe: whoever reads it gets the memory as it was at the fork.

Compiled where a process has keys, and nowhere else. Nor does this file count among the sources by which compiled
kernels are kept (`kernel_cache.py`), so that nobody who seals nothing compiles anything for it: it is made without the
decorator that is looked for there, takes no constant from another file, and what was compiled is kept by its own text.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from services.treenode.snapshots.background_write import BackgroundWrite, BackgroundWriteError
from services.treenode.tree.kernels.kernel import kernel_with_gil

_PR_SET_PDEATHSIG = 1
#: Behind the node itself, whenever both want the processor.
_NICE = 5

_pointer: Any = types.CPointer
_fork: Any = types.ExternalFunction("_Fork", types.int32())
_getppid: Any = types.ExternalFunction("getppid", types.int32())
_prctl: Any = types.ExternalFunction(
    "prctl", types.int32(types.int32, types.uint64, types.uint64, types.uint64, types.uint64)
)
_nice: Any = types.ExternalFunction("nice", types.int32(types.int32))
_write: Any = types.ExternalFunction("write", types.int64(types.int32, types.uint64, types.uint64))
_errno: Any = types.ExternalFunction("__errno_location", _pointer(types.int32)())
_exit: Any = types.ExternalFunction("_exit", types.void(types.int32))


def _child(parent: int, descriptor: int, addresses: npt.NDArray[np.uint64], sizes_bytes: npt.NDArray[np.int64]) -> int:
    """Forks; returns the child's process id, or -errno. The child writes the pieces, one behind the other, and ends
    with errno, or 0.

    `addresses`, `sizes_bytes`: where each piece lies in memory, (n,).
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
            written = _write(descriptor, addresses[index] + np.uint64(done), sizes_bytes[index] - done)
            if written <= 0:
                _exit(max(1, int(_errno()[0])))
            done += written
    _exit(0)
    return 0


_send_in_child = kernel_with_gil(_child)


class BackgroundSend(BackgroundWrite):
    """One under way: begun in the constructor, which returns at once; await `finished` soon after."""

    def __init__(self, descriptor: int, pieces: Sequence[npt.NDArray[Any]]) -> None:
        """Writes the pieces (contiguous arrays) as they are now into a pipe.

        Raises:
            BackgroundWriteError: No process could be made.
        """
        child = int(
            _send_in_child(
                os.getpid(),
                descriptor,
                np.array([piece.ctypes.data for piece in pieces], dtype=np.uint64),
                np.array([piece.nbytes for piece in pieces], dtype=np.int64),
            )
        )
        if child < 0:
            raise BackgroundWriteError(-child, f"no process to write in: {os.strerror(-child)}")
        self._child = child
        self._pid_fd = os.pidfd_open(child)

    def end(self) -> None:
        """Nobody takes any more of it: `finished` raises. It has the pipe's other end too, and would not notice."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pid_fd, signal.SIGKILL)


def warm_up() -> None:
    """Compiles what forks, so that the first sealed snapshot doesn't wait for it. Blocks."""
    with open(os.devnull, "wb") as nowhere:
        child = int(_send_in_child(os.getpid(), nowhere.fileno(), np.empty(0, np.uint64), np.empty(0, np.int64)))
    if child > 0:
        os.waitpid(child, 0)
