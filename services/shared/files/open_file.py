"""Whether a file that is held open still is what its name leads to.

A file that was removed, moved, or had another one put in its place takes writes and fsyncs like any other. Whatever is
written to it then is lost with the process, and nothing else says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file as it was when it was opened."""

    path: Path
    device: int
    inode: int

    @classmethod
    def of(cls, path: Path, found: os.stat_result) -> OpenFile:
        """`found`: what the system says of the open file."""
        return cls(path, found.st_dev, found.st_ino)

    def problem(self) -> str:
        """Why a restart would not find it; empty where it would. From any thread; as cheap as a `stat`."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return f"{self.path} is gone: it was removed or moved while it is in use"
        except OSError as error:
            return f"{self.path} can't be looked at: {error.strerror}"
        if (found.st_dev, found.st_ino) != (self.device, self.inode):
            return f"{self.path} is another file than the one in use, which was removed or moved"
        return ""
