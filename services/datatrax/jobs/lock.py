"""One run of a job at a time: the kernel's lock on a file, which ends with the process, whatever ends that."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from services.shared.domain.sentences import plain
from services.shared.files.durable import make_folder
from services.shared.forms import Form

_HOLDER_BYTES_MAX: Final = 1_024


class JobHeldError(Exception):
    """Another run has the lock: one line that says who, and since when."""


class _Holder(msgspec.Struct, frozen=True):
    """Who has it, for people: what counts is the kernel's lock."""

    pid: int
    host: str
    since: str


_HOLDER: Form[_Holder] = Form(_Holder)


@contextlib.contextmanager
def job_lock(folder: Path, job: str) -> Iterator[None]:
    """The job's own for as long as the block runs.

    Args:
        folder: Of the locks; made where it is not there. On a disk of this machine: locks of a file server are its own.

    Raises:
        JobHeldError: Another process has it.
        OSError: The folder can't be made or written.
    """
    make_folder(folder)
    descriptor = os.open(folder / f"{job}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JobHeldError(f"{job} runs already{_held_by(descriptor)}: this run did nothing") from None
        holder = _Holder(os.getpid(), socket.gethostname(), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, msgspec.json.encode(holder), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _held_by(descriptor: int) -> str:
    """Whoever took it this moment may not have written it yet."""
    try:
        holder = _HOLDER.of_json(os.pread(descriptor, _HOLDER_BYTES_MAX, 0))
    except msgspec.DecodeError:
        return ""
    return f", process {holder.pid} on {plain(holder.host)} since {plain(holder.since)}"
