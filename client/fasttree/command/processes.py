"""What a process that the command starts gets of its environment, and what it said last."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path

from services.shared.python_process import python_command

__all__ = ["die_with_parent", "inherited_environment", "last_words", "process_environment", "python_command"]

_ERROR = "error: "
#: Of a log's end that is looked at.
_END_BYTES = 16 << 10
_PR_SET_PDEATHSIG = 1
#: Loaded before any fork: between fork and exec only the call itself is allowed.
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> Callable[[], None]:
    """For preexec_fn of Popen: the process that is started dies when this one does, however that happens."""
    parent = os.getpid()

    def before_exec() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call took hold
            os._exit(1)

    return before_exec


def inherited_environment() -> dict[str, str]:
    """Our environment, without what holds for this process alone (see fasttree.command)."""
    return {name: value for name, value in os.environ.items() if name != "GRPC_ENABLE_FORK_SUPPORT"}


def process_environment() -> dict[str, str]:
    """What is set for every process beside what this one was given."""
    return {"PYTHONUNBUFFERED": "1"}


def last_words(folder: Path, service: str) -> str:
    """Why a process of the cluster of `fasttree up` in that folder ended, to be put behind what is said of it; empty
    where it did not say. A damaged log, say, keeps the pusher from starting: nobody else can tell."""
    try:
        with (folder / "logs" / f"{service}.log").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _END_BYTES))
            lines = file.read(_END_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return ""
    return f"; it ended with: {lines[-1].removeprefix(_ERROR)}" if lines and lines[-1].startswith(_ERROR) else ""
