"""The newest position that was promised to anyone, kept beside the log: it vouches for it.

Written after each commit and before its receipts, without an fsync: it costs a microsecond, survives any end of the
process, and after a power failure is at worst older than the log, never newer. So a log that ends before it has lost
updates.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from services.pusher.log.store import LogDamagedError
from services.shared.files.open_file import OpenFile

logger = logging.getLogger(__name__)

_MARK = struct.Struct("<QII")  # position, CRC-32 of the log's id, CRC-32 of what stands before


class Promise(NamedTuple):
    """What a mark says: the position, and of which log."""

    position: int
    log_crc32: int

    def is_of(self, log_id: str) -> bool:
        """Whether it was made of that log."""
        return self.log_crc32 == zlib.crc32(log_id.encode())


_NONE = Promise(0, 0)


def _decode(mark: bytes) -> Promise:
    """Position 0 where it is no mark: missing, or torn by a power failure."""
    if len(mark) != _MARK.size:
        return _NONE
    position, log, checksum = _MARK.unpack(mark)
    return Promise(position, log) if checksum == zlib.crc32(mark[:12]) else _NONE


def read_mark(path: Path) -> Promise:
    """What a mark's file says, of whichever log."""
    return _decode(path.read_bytes()) if path.is_file() else _NONE


def check_there(promise: Promise, path: Path) -> None:
    """Raises LogDamagedError where updates were acknowledged, and there is no log at all."""
    if promise.position and not path.exists():
        raise LogDamagedError(
            f"{path} is gone, and updates up to {promise.position} were acknowledged: where the log lies in a server, "
            f"set pusher.log_store as it was; else bring it back (fasttree log restore), or, once it is lost for good, "
            f"move {path.parent} away to begin a new log"
        )


class Found(NamedTuple):
    """The log that is there.

    Attributes:
        place: Where.
        log_id, position: Its id, and where it ends.
        settings: Those that say where it is, if not the folder alone; a wrong one leads to another log.
        whole: What brings a whole one back.
        is_copy: It is one that `fasttree log copy` has not finished.
    """

    place: Path | str
    log_id: str
    position: int
    settings: str = ""
    whole: str = "bring back a whole copy (fasttree log restore)"
    is_copy: bool = False


def check_promise(promise: Promise, mark_path: Path, found: Found) -> None:
    """Raises LogDamagedError where the mark says that what was found is not the log, or not the whole of it."""
    if not promise.position:
        return
    go_on = f"to go on with what is there, remove {mark_path}: the nodes say then whether they have more"
    mend = f"{found.whole}, or, {go_on}"
    if not promise.is_of(found.log_id):
        receipts = f"the one that receipts were given from, up to position {promise.position}, by {mark_path}"
        look = f"see to {found.settings}" if found.settings else ""
        if found.is_copy:
            raise LogDamagedError(
                f"{found.place} holds a copy that is not finished yet, not {receipts}: let `fasttree log copy "
                f"--finish` finish it; if it is not of this log, {look}"
            )
        raise LogDamagedError(
            f"{found.place} is another log ({found.log_id}) than {receipts}: "
            + (f"{look} first; where they are right, {mend}" if look else mend)
        )
    if promise.position > found.position:
        lost = f"ends at position {found.position}, but {promise.position} was acknowledged: its end is lost"
        raise LogDamagedError(f"{found.place} {lost}; {mend}")


class EndMark:
    """The mark in one file of 16 bytes.

    Raises:
        OSError: The file can't be opened.
    """

    def __init__(self, path: Path, log_id: str) -> None:
        self._path = path
        self._log = zlib.crc32(log_id.encode())
        self._file = self._open()
        self._written: bytes = b""
        self._failed = False

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, position: int) -> None:
        """Marks a position. A failure is told once, and does not fail the commit: the update itself is on disk."""
        mark = _MARK.pack(position, self._log, 0)
        self._written = mark[:12] + zlib.crc32(mark[:12]).to_bytes(4, "little")
        try:
            os.pwrite(self._file, self._written, 0)
        except OSError as error:
            self._tell(error)

    def keep(self) -> None:
        """Makes the file anew where it is no longer in its place: all that it says is known here."""
        if not OpenFile.of(self._path, os.fstat(self._file)).problem():
            return
        try:
            made = self._open()
            os.pwrite(made, self._written, 0)
        except OSError as error:
            self._tell(error)
            return
        logger.warning("%s was removed or replaced: made it anew", self._path)
        os.close(self._file)
        self._file = made

    def _tell(self, error: OSError) -> None:
        if not self._failed:
            logger.warning("can't write %s: %s; a log that loses its end would not be noticed", self._path, error)
        self._failed = True

    def close(self) -> None:
        os.close(self._file)
