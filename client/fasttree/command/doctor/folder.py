"""What lies on this machine's disks: settings, and the folder of a cluster of `fasttree up`."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import AsyncIterator
from pathlib import Path

from fasttree.command.doctor.alarms import DISK_FREE_BYTES, room
from fasttree.command.doctor.findings import Finding


async def settings(file: Path | None) -> AsyncIterator[Finding]:
    """Every fault that `fasttree config check` would tell."""
    from fasttree.command.settings.reading import faults_of  # it loads the settings of every service

    for fault in faults_of(file, ()):
        yield Finding(check="settings", text=fault, mend="as it says; then `fasttree config check`")


async def state_folder(folder: Path) -> AsyncIterator[Finding]:
    """Its rights, and the room on its disk."""
    for path in (folder, folder / "state", folder / "logs"):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            mend = f"have {folder} belong to the user who runs the cluster"
            yield Finding(check="folders", text=f"{path}: {error.strerror}", mend=mend)
            continue
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            text = f"{path} may be entered by others ({stat.filemode(found.st_mode)}), and there are members in it"
            yield Finding(check="folders", text=text, mend=f"chmod 700 {path}")
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            text = f"{path} may not be written by this user ({os.geteuid()}; it is {found.st_uid}'s)"
            yield Finding(
                check="folders", text=text, mend=f"run as its owner, or chown --recursive {os.geteuid()} {path}"
            )
    free = shutil.disk_usage(folder).free
    if free < DISK_FREE_BYTES:
        text = f"{room(free)} free on the disk of {folder}"
        yield Finding(check="disk", text=text, mend="make room before it is full", alert="FastTreeDiskAlmostFull")
