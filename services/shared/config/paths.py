"""What is wrong with a path that settings name, on this machine: for a look before a service meets it.

A service itself does not ask here: it opens what it needs, and says what it met.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from services.shared.config.bounds import FOLDER, OWN_FOLDER

#: Of a file system, or a kernel, without files that have no name.
_NO_NAMELESS_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)


def path_fault(kind: str, value: str, bases: Sequence[Path]) -> str:
    """A sentence with the mend; empty where nothing is wrong.

    Args:
        kind: READ, FOLDER or OWN_FOLDER.
        value: As the setting has it; empty, or an address: it names none.
        bases: Folders that a relative one may be meant from: it is good where it is by one of them.
    """
    if not value or "://" in value:
        return ""
    fault_of = {FOLDER: _folder_fault, OWN_FOLDER: _own_folder_fault}.get(kind, _file_fault)
    faults = [fault_of(base / value) for base in bases]
    return min(faults, key=bool)


def _file_fault(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "is a folder: name a file"
        if not stat.S_ISREG(mode):
            return "is no regular file, but a pipe, a device or a socket: name a file"
        if not os.access(path, os.R_OK):
            return "may not be read by this user: look as the one that the service runs as, or give that one the right"
    except FileNotFoundError:
        return "there is no such file here: make it, or mend the path"
    except OSError as error:
        return f"can't be read: {error.strerror or error}"
    return ""


def _folder_fault(path: Path) -> str:
    """One that is not there is made, if what it would be made in is a folder."""
    for place in (path, *path.parents):
        try:
            if stat.S_ISDIR(place.stat().st_mode):
                return ""
            return "is no folder: name one" if place == path else f"can't be made: {place} is no folder"
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            continue
        except OSError as error:
            return f"can't be used: {error.strerror or error}"
    return ""


def _own_folder_fault(path: Path) -> str:
    """The same, of one that is written: here, or where it would be made, that is tried. Nothing is left behind."""
    if fault := _folder_fault(path):
        return fault
    place = next(each for each in (path, *path.parents) if each.exists())
    try:
        _try_to_write(place)
    except OSError as error:
        what = "can't be written" if place == path else f"can't be made in {place}"
        mend = "look as the one that the service runs as, give that one the right, or name another folder"
        return f"{what} by this user: {error.strerror or error}: {mend}"
    return ""


def _try_to_write(folder: Path) -> None:
    """Raises OSError where nothing can be made in it. What is made has no name, so nobody who watches the folder sees
    it; where the file system knows no such files, it is an empty folder, for a moment."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except OSError as error:
        if error.errno not in _NO_NAMELESS_FILES:
            raise
        os.rmdir(tempfile.mkdtemp(prefix=".fasttree-", dir=folder))
