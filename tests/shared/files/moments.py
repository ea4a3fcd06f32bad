"""What a process would leave in a folder if it were killed: at each moment at which that is something else.

The process is held at each of its calls to the kernel (ptrace), before and after it, and the folder is read then: what
`kill -9` leaves is what was written up to that call, whole or in part. It has one thread that writes there.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

#: Every file of a folder, by its name in it, and what is in it.
Left = dict[str, bytes]

#: What a process says once it stands before what it is watched at; then it waits for a line.
READY: Final = "ready"
_SYSCALL, _SEIZE, _INTERRUPT = 24, 0x4206, 0x4207
_TELLS_CALLS, _ENDS_WITH_US = 0x01, 0x00100000


def wait_to_be_watched() -> None:
    """In the process."""
    print(READY, flush=True)
    sys.stdin.readline()


def moments(command: Sequence[str], folder: Path) -> list[Left]:
    """What was in the folder at each moment, from before the process began to its end, which is a good one."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == f"{READY}\n"
            _ptrace(_SEIZE, process.pid, _TELLS_CALLS | _ENDS_WITH_US)
            _ptrace(_INTERRUPT, process.pid)
            process.stdin.write("\n")
            process.stdin.flush()
            found = [_left(folder)]
            while os.WIFSTOPPED(status := os.waitpid(process.pid, 0)[1]):
                left = _left(folder)  # it stands still
                if left != found[-1]:
                    found.append(left)
                _go_on(process.pid, status)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            if process.returncode is None:
                process.kill()
    assert process.returncode == 0
    return found


def put_back(left: Left, folder: Path) -> None:
    """Into a folder that is not there yet."""
    folder.mkdir(parents=True)
    for name, content in left.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def _go_on(pid: int, status: int) -> None:
    """To its next call to the kernel, or out of one. `status`: why it stands still; a signal of its own is given on."""
    is_of_its_own = status >> 16 == 0 and os.WSTOPSIG(status) != signal.SIGTRAP | 0x80
    _ptrace(_SYSCALL, pid, os.WSTOPSIG(status) if is_of_its_own else 0)


def _left(folder: Path) -> Left:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def _ptrace(request: int, pid: int, data: int = 0) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_void_p(0), ctypes.c_void_p(data))
    if library.ptrace(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "a process of ours can't be watched (ptrace)")
