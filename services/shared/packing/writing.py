"""Packs a file while it is read."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

from services.shared.packing.packed import Packing

#: What a packed file's name ends with.
SUFFIXES: Final = {Packing.GZIP: ".gz", Packing.ZIP: ".zip", Packing.ZSTD: ".zst"}
_PIECE_BYTES: Final = 1 << 20
#: Half the time of the best, for a file that is a tenth larger.
_LEVEL: Final = 6


def pack(source: BinaryIO, target: Path, packing: Packing, name: str) -> None:
    """Writes what stands in `source` into a new file, whose bytes are on disk then; equal content packs to equal bytes.

    `name`: of the file, in a zip archive. Blocks for seconds on large files. Raises OSError.
    """
    with target.open("wb") as file:
        match packing:
            case Packing.GZIP:
                with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=_LEVEL, mtime=0) as packed:
                    _copy(source, cast("IO[bytes]", packed))
            case Packing.ZIP:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
                    listed = zipfile.ZipInfo(name)
                    listed.compress_type = zipfile.ZIP_DEFLATED
                    with archive.open(listed, "w", force_zip64=True) as packed:
                        _copy(source, packed)
            case Packing.ZSTD:
                import pyarrow as pa

                with pa.CompressedOutputStream(pa.PythonFile(_KeptOpen(file), mode="w"), "zstd") as packed:
                    _copy(source, packed)
            case Packing.NONE:
                _copy(source, file)
        file.flush()
        os.fsync(file.fileno())


def _copy(source: BinaryIO, target: IO[bytes]) -> None:
    while data := source.read(_PIECE_BYTES):
        target.write(data)


class _KeptOpen:
    """A file that whoever writes into it may not close."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.write, self.flush, self.tell = file.write, file.flush, file.tell

    def close(self) -> None:
        """It is closed by whoever opened it."""
