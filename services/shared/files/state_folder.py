"""The folder of a process's state: its own, for as long as it runs."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from services.shared.files.durable import make_folder
from services.shared.serving.process import StartupError


def lock_folder(folder: Path, *, shared: bool = False) -> IO[str]:
    """Makes a state folder this process's own until it ends; keep the returned file open. `shared`: its own and that of
    others who say so too.

    Raises:
        StartupError: Another process has it, or it can't be written.
    """
    try:
        make_folder(folder)
        # Not durable: what counts is the kernel's lock, which ends with the process.
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise StartupError(f"can't use the state folder {folder}: {error}; set another one") from error
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        raise StartupError(
            f"the state folder {folder} is in use by process {holder}; end it or set another folder"
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
