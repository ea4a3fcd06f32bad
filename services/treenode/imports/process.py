"""Reads and checks one import file in a process of its own: whatever is in it, the node's reports and updates go on.

    python -m services.treenode.imports.process FD

Started ahead of time, it loads its kernels, says `Ready` and waits. The request is one line of JSON on standard input.
Standard output tells a JSON object a line: progress, then `Read` with the table in the file FD, `NotRead`, or the
`Refusal`. It ends after one file, and when standard input ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import msgspec

from services.shared.domain.columns import FurtherKind
from services.shared.files.sealed.errors import SealDamagedError, SealKeyError
from services.shared.files.sealed.memory import readable
from services.shared.files.sealed.names import IMPORT_FILE
from services.shared.files.sealed.own import HandedKeys, seal_by
from services.shared.forms import Form
from services.treenode.imports.reading import (
    FileFormat,
    ImportLimits,
    ImportRefusedError,
    Refusal,
    TableMemory,
    read_import,
)
from services.treenode.imports.reading.refusal import refuse_file
from services.treenode.imports.sample_imports import write_sample_csvs

_PR_SET_PDEATHSIG = 1
#: Behind the node itself, whenever both want the processor.
NICE = 5


#: How often progress is told, in seconds.
PROGRESS_S = 0.2


class ReadRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which file, and what the cluster has."""

    path: str
    #: Number of `fasttree.v1.ImportFormat`.
    file_format: int
    volume_types: list[str]
    periods: list[str]
    #: Types of the columns that the log declares, by name.
    columns: dict[str, FurtherKind]
    #: Those that are closed for good.
    sealed_periods: list[str] = []
    limits: ImportLimits
    #: Whether the file may be sealed, and by which keys.
    sealing: HandedKeys = HandedKeys()


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Everything is loaded; the process waits."""


class Checking(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The file is being read; share from 0.0 to 1.0."""

    share: float


class Read(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The file is good; its table is in the file."""

    rows: int


class NotRead(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The file can't be opened, for no fault of what is in it."""

    reason: str


_REQUEST: Form[ReadRequest] = Form(ReadRequest)
ReadMessage = Ready | Checking | Read | NotRead | Refusal


def read(request: ReadRequest, descriptor: int) -> Read | NotRead | Refusal:
    """Reads the file, and writes its table to the descriptor."""
    told_s = time.monotonic()

    def progress(share: float) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if now_s - told_s >= PROGRESS_S:
            told_s = now_s
            tell(Checking(share=share))

    memory = TableMemory(descriptor)
    try:
        seal_by(request.sealing)
        with readable(Path(request.path), IMPORT_FILE) as path:
            table = read_import(
                path,
                FileFormat(request.file_format),
                request.volume_types,
                request.periods,
                request.limits,
                progress,
                memory,
                request.columns,
                request.sealed_periods,
            )
    except ImportRefusedError as refused:
        return refused.refusal
    except (SealKeyError, SealDamagedError) as error:
        return NotRead(reason=str(error))
    except (OSError, MemoryError):
        raise  # of the machine: another try may do better
    except Exception as error:
        # Whatever a library makes of bytes that it did not reckon with; it would do so again.
        traceback.print_exc()
        return refuse_file(f"reading it failed ({type(error).__name__}): its data is damaged, make it anew").refusal
    memory.write(table)
    return Read(rows=len(table))


def load_kernels() -> None:
    """Reads small files, so that the large one waits for no kernel."""
    with tempfile.TemporaryDirectory(prefix="fasttree-import-") as name:
        for path in write_sample_csvs(Path(name)):
            with contextlib.suppress(ImportRefusedError):
                read_import(path, volume_types=["PV"], periods=["2026-11"])


def tell(message: ReadMessage) -> None:
    """One line on standard output."""
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """The process; see above."""
    # The node may be killed: nothing of it may go on then.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # A Ctrl-C is for the node, which ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    # A node that is gone takes no answer, and nobody else looks for one.
    with contextlib.suppress(BrokenPipeError):
        load_kernels()
        tell(Ready())
        line = sys.stdin.buffer.readline()
        if line:
            tell(read(_REQUEST.of_json(line), int(sys.argv[1])))
    os._exit(0)


if __name__ == "__main__":
    main()
