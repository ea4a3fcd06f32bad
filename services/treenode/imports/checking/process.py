"""Checks one import file for the fasttree command, which imports nothing of the services.

    python -m services.treenode.imports.checking.process

The request is one line of JSON on standard input. Standard output tells a JSON object a line: how far it is, then the
report, or why there is none.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import msgspec

from services.shared.forms import Form
from services.shared.mapping.profile import ProfileError
from services.treenode.imports.checking.check import CheckReport, CheckRequest, check_file
from services.treenode.imports.process import PROGRESS_S, Checking
from services.treenode.kernels.compiling import tell_compiling

_PR_SET_PDEATHSIG = 1

_REQUEST: Form[CheckRequest] = Form(CheckRequest)


class Compiling(msgspec.Struct, frozen=True, tag=True):
    """The reader, or a part of it, was never compiled on this machine: that takes a while, once."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """A file can't be read, or that of the refused rows not written."""

    reason: str


def answer(line: bytes) -> CheckReport | Failed:
    """What comes of a request."""
    told_s = time.monotonic()

    def progress(share: float) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= PROGRESS_S:
            told_s = time.monotonic()
            _tell(Checking(share=share))

    try:
        return check_file(_REQUEST.of_json(line), progress)
    except ProfileError as error:
        return Failed(str(error))
    except OSError as error:
        return Failed(f"{error.filename or 'the file'}: {error.strerror or error}")


def _tell_once() -> Callable[[str], None]:
    is_told = threading.Event()

    def tell(kernel: str) -> None:
        if not is_told.is_set():
            is_told.set()
            _tell(Compiling())

    return tell


def _tell(message: Checking | Compiling | CheckReport | Failed) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """The process; see above."""
    # Whoever wanted to know is gone with the command.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        tell_compiling(_tell_once())
        _tell(answer(sys.stdin.buffer.readline()))
    os._exit(0)


if __name__ == "__main__":
    main()
