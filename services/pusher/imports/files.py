"""Import files on the pusher's disk: taken in whole or not at all, served, removed when nothing needs them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from fasttree.v1 import pusher_pb2, types_pb2
from services.shared.files.chunks import ChunkDamagedError, ChunkWriter, iter_chunks
from services.shared.serving.errors import DataLossError, InvalidArgumentError, NotFoundError, ResourceExhaustedError

logger = logging.getLogger(__name__)

_FILE_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_ROOM_LEFT_BYTES = 256 << 20  # for the log: an import must never be what fills the disk
_GZIP_MAGIC, _PARQUET_MAGIC = b"\x1f\x8b", b"PAR1"


def find_format(head: bytes) -> types_pb2.ImportFormat.ValueType:
    """The format by a file's first bytes: gzip and Parquet say what they are, everything else is read as CSV."""
    if head.startswith(_GZIP_MAGIC):
        return types_pb2.IMPORT_FORMAT_CSV_GZIP
    if head.startswith(_PARQUET_MAGIC):
        return types_pb2.IMPORT_FORMAT_PARQUET
    return types_pb2.IMPORT_FORMAT_CSV


def check_file_name(name: str) -> None:
    """Raises InvalidArgumentError where a file name could be a path, or could not be written to a disk."""
    if not _FILE_NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"file_name {name[:140]!r}: use 1 to 128 of A-Z a-z 0-9 . _ - and no folder", field="file_name", value=name
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ImportFiles:
    """The folder of import files: `ID-NAME` for each import, and `incoming/` for what is not whole yet.

    Args:
        folder: Made if it is not there.
        bytes_max: Largest file.

    Raises:
        OSError: The folder can't be made.
    """

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        self._bytes_max = bytes_max
        self._numbers = itertools.count(1)
        # What a crash left half-received: its sender begins anew.
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir(parents=True)

    def path(self, manifest: types_pb2.ImportManifest) -> Path:
        """Where an import's file is kept."""
        return self._folder / f"{manifest.import_id:06d}-{manifest.file_name}"

    # -- in

    def _check_size(self, size_bytes: int) -> None:
        if not size_bytes:
            raise InvalidArgumentError("the file is empty: an import has a header line at least", field="size_bytes")
        if size_bytes > self._bytes_max:
            raise ResourceExhaustedError(
                f"the file has {size_bytes} bytes, {self._bytes_max} are allowed: raise pusher.import_bytes_max",
                field="size_bytes",
                value=str(size_bytes),
            )
        free = shutil.disk_usage(self._folder).free
        if size_bytes + _ROOM_LEFT_BYTES > free:
            raise ResourceExhaustedError(
                f"the file has {size_bytes} bytes, but {self._folder} has {free} free, and {_ROOM_LEFT_BYTES} "
                "of it stay for the log: make room there"
            )

    async def receive(
        self, header: pusher_pb2.UploadImportHeader, requests: AsyncIterator[pusher_pb2.UploadImportRequest]
    ) -> tuple[Path, types_pb2.ImportManifest]:
        """Takes a file in by chunks; returns it, durable under a name of its own, and its manifest without an id.

        Raises:
            InvalidArgumentError, DataLossError, ResourceExhaustedError: See UploadImport in the proto.
        """
        check_file_name(header.file_name)
        if len(header.sha256) not in (0, 32):
            raise InvalidArgumentError("sha256 must have 32 bytes, or none", field="sha256")
        self._check_size(header.size_bytes)
        part = self._incoming / f"{next(self._numbers)}.part"
        try:
            sha256 = await self._write(part, header, requests)
            head = await asyncio.to_thread(_read_head, part)
        except ChunkDamagedError as error:
            part.unlink(missing_ok=True)
            raise DataLossError(f"{header.file_name}: {error}; upload it again") from error
        except OSError as error:
            part.unlink(missing_ok=True)
            raise ResourceExhaustedError(
                f"{header.file_name} can't be written: {error}; make room on the disk"
            ) from error
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return part, _manifest(header, sha256, head)

    async def _write(
        self,
        part: Path,
        header: pusher_pb2.UploadImportHeader,
        requests: AsyncIterator[pusher_pb2.UploadImportRequest],
    ) -> bytes:
        writer = await asyncio.to_thread(ChunkWriter, part, header.size_bytes)
        try:
            async for request in requests:
                if request.WhichOneof("part") != "chunk":
                    raise InvalidArgumentError("only chunks may follow the header", field="part")
                await asyncio.to_thread(writer.write, request.chunk)
            return await asyncio.to_thread(writer.finish, header.sha256)
        finally:
            writer.close()

    async def copy_in(self, file: Path, file_name: str) -> tuple[Path, types_pb2.ImportManifest]:
        """Takes a file in from this machine's disk, as `receive`.

        Raises:
            OSError: It can't be read or written.
            ResourceExhaustedError: Too large, or no room.
        """
        part = self._incoming / f"{next(self._numbers)}.part"
        header = pusher_pb2.UploadImportHeader(file_name=file_name)

        def copy() -> tuple[bytes, bytes]:
            size_bytes = header.size_bytes = file.stat().st_size
            self._check_size(size_bytes)
            writer = ChunkWriter(part, size_bytes)
            try:
                for chunk in iter_chunks(file, 0, size_bytes):
                    writer.write(chunk)
                return writer.finish(b""), _read_head(part)
            finally:
                writer.close()

        sha256, head = await asyncio.to_thread(copy)
        return part, _manifest(header, sha256, head)

    def keep(self, part: Path, manifest: types_pb2.ImportManifest) -> None:
        """Gives a received file its place, durably. Blocks.

        Raises:
            OSError: The disk.
        """
        part.rename(self.path(manifest))
        _sync_folder(self._folder)

    def link(self, old: types_pb2.ImportManifest, new: types_pb2.ImportManifest) -> None:
        """Gives an old import's file a new one's place too, durably. Blocks.

        Raises:
            OSError: The old one is gone, or the disk.
        """
        self.path(new).unlink(missing_ok=True)
        os.link(self.path(old), self.path(new))
        _sync_folder(self._folder)

    # -- out

    def has(self, manifest: types_pb2.ImportManifest) -> bool:
        """Whether the file is still here."""
        return self.path(manifest).is_file()

    async def chunks(self, manifest: types_pb2.ImportManifest, offset: int) -> AsyncIterator[types_pb2.Chunk]:
        """The file's chunks from an offset.

        Raises:
            NotFoundError: The file is no longer here.
            DataLossError: It is shorter than it was.
        """
        chunks = iter_chunks(self.path(manifest), offset, manifest.size_bytes)
        try:
            while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
                yield chunk
        except FileNotFoundError as error:
            raise NotFoundError(f"import {manifest.import_id} is no longer kept here") from error
        except (ChunkDamagedError, OSError) as error:
            raise DataLossError(f"import {manifest.import_id} can't be read: {error}") from error

    # -- away

    def remove_all_but(self, kept: Iterable[types_pb2.ImportManifest]) -> list[str]:
        """Removes every other file; returns their names. Blocks."""
        keep = {self.path(manifest).name for manifest in kept}
        removed = [file for file in self._folder.iterdir() if file.is_file() and file.name not in keep]
        for file in removed:
            file.unlink(missing_ok=True)
        return [file.name for file in removed]


def _read_head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(16)


def _manifest(header: pusher_pb2.UploadImportHeader, sha256: bytes, head: bytes) -> types_pb2.ImportManifest:
    manifest = types_pb2.ImportManifest(
        file_name=header.file_name,
        format=header.format or find_format(head),
        size_bytes=header.size_bytes,
        sha256=sha256,
        as_of_position=header.as_of_position,
        force=header.force,
    )
    manifest.uploaded_at.GetCurrentTime()
    return manifest
