"""Import files on the pusher's disk: taken in whole or not at all, served, removed when nothing needs them."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from fasttree.v1 import pusher_pb2, types_pb2
from services.shared.domain.sentences import with_mend
from services.shared.files.checksums import content_sha256
from services.shared.files.chunks import CHUNK_BYTES, ChunkDamagedError, ChunkWriter, make_chunk, take_file
from services.shared.files.durable import link_durably, remove_leftovers
from services.shared.files.import_files import ImportFileStore
from services.shared.files.names import check_file_name
from services.shared.files.sealed.names import IMPORT_FILE
from services.shared.files.sealed.reading import ContentFile, content_size
from services.shared.files.threads import in_thread
from services.shared.mapping.canonical import KnownColumns
from services.shared.mapping.profile import Profile
from services.shared.mapping.runner import NotOfProfileError, RewritingEndedError, rewrite_file
from services.shared.packing import Packing, packing_of
from services.shared.serving.errors import (
    DataLossError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)

_ROOM_LEFT_BYTES = 256 << 20  # for the log: an import must never be what fills the disk
_PARQUET_MAGIC = b"PAR1"


def find_format(head: bytes) -> types_pb2.ImportFormat.ValueType:
    """The format by a file's first bytes: what is packed and Parquet say what they are, all else is read as CSV.

    Zip and zstd have no number: nodes see by themselves, and one of an earlier version refuses the file in plain words.
    """
    if (packing := packing_of(head)) is not Packing.NONE:
        is_gzip = packing is Packing.GZIP
        return types_pb2.IMPORT_FORMAT_CSV_GZIP if is_gzip else types_pb2.IMPORT_FORMAT_UNSPECIFIED
    if head.startswith(_PARQUET_MAGIC):
        return types_pb2.IMPORT_FORMAT_PARQUET
    return types_pb2.IMPORT_FORMAT_CSV


class FileTooLargeError(ResourceExhaustedError):
    """Larger than any that is taken: room on the disk would not help."""


class ImportFiles(ImportFileStore):
    """The folder of import files, and the ways into it.

    Args:
        folder: Made if it is not there.
        bytes_max: Largest file.

    Raises:
        OSError: The folder can't be made.
    """

    def __init__(self, folder: Path, bytes_max: int) -> None:
        super().__init__(folder)
        self._bytes_max = bytes_max
        self._numbers = itertools.count(1)
        #: Files under way: their parts, and how long each will be. The disk must have room for all of them at once.
        self._coming: dict[Path, int] = {}
        self._counting = threading.Lock()

    def remove_leftovers(self) -> None:
        """Removes what a crash left half-received: its sender begins anew. Not while another process may receive."""
        remove_leftovers(self.incoming)

    def _take_room(self, part: Path, size_bytes: int) -> None:
        """Until `_give_room`, so much of the disk is the part's. Blocks: it asks the disk for its room."""
        if not size_bytes:
            raise InvalidArgumentError("the file is empty: an import has a header line at least", field="size_bytes")
        if size_bytes > self._bytes_max:
            raise FileTooLargeError(
                f"the file has {size_bytes} bytes, {self._bytes_max} are allowed: raise pusher.import_bytes_max",
                field="size_bytes",
                value=str(size_bytes),
            )
        with self._counting:
            owed = sum(max(0, length - _size_bytes(other)) for other, length in self._coming.items())
            free = shutil.disk_usage(self.folder).free - owed
            if size_bytes + _ROOM_LEFT_BYTES > free:
                raise ResourceExhaustedError(
                    f"the file has {size_bytes} bytes, but {self.folder} has {free} free, other uploads apart, "
                    f"and {_ROOM_LEFT_BYTES} of it stay for the log: make room there"
                )
            self._coming[part] = size_bytes

    def _give_room(self, part: Path) -> None:
        with self._counting:
            self._coming.pop(part, None)

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
        if header.format not in types_pb2.ImportFormat.values():
            names = ", ".join(types_pb2.ImportFormat.keys())
            raise InvalidArgumentError(f"format {header.format} is none of {names}", field="format")

        async def write(part: Path) -> bytes:
            await asyncio.to_thread(self._take_room, part, header.size_bytes)
            return await _write(part, header, requests)

        try:
            return await self._taken_in(header, write)
        except ChunkDamagedError as error:
            raise DataLossError(f"{header.file_name}: {error}; upload it again") from error
        except OSError as error:
            raise ResourceExhaustedError(f"{header.file_name} can't be written: {with_mend(error)}") from error

    async def copy_in(self, file: Path, file_name: str) -> tuple[Path, types_pb2.ImportManifest]:
        """Takes a file in from this machine's disk, as `receive`.

        Raises:
            OSError: It can't be read or written, or is a link.
            DataLossError: It became shorter meanwhile.
            ResourceExhaustedError: Too large (FileTooLargeError), or no room.
        """
        header = pusher_pb2.UploadImportHeader(file_name=file_name)

        def copy(part: Path) -> bytes:
            header.size_bytes = file.lstat().st_size
            self._take_room(part, header.size_bytes)
            return take_file(file, part, header.size_bytes)

        try:
            return await self._taken_in(header, lambda part: in_thread(copy, part))
        except ChunkDamagedError as error:
            raise DataLossError(f"{file_name} changed while it was taken: {error}") from error

    async def _taken_in(
        self, header: pusher_pb2.UploadImportHeader, write: Callable[[Path], Awaitable[bytes]]
    ) -> tuple[Path, types_pb2.ImportManifest]:
        """A part file that `write` fills, durably, and gives the SHA-256 of; nothing is left of it where that fails."""
        part = self.part(str(next(self._numbers)))
        try:
            sha256 = await write(part)
            return part, _manifest(header, sha256, await asyncio.to_thread(_read_head, part))
        except BaseException:
            await in_thread(self.discard, part)
            raise
        finally:
            self._give_room(part)

    async def rewritten(
        self, part: Path, manifest: types_pb2.ImportManifest, profile: Profile, known: KnownColumns
    ) -> tuple[Path, types_pb2.ImportManifest]:
        """The file in the form that nodes read, durable, in the place of what was taken in, which is given up.

        Raises:
            InvalidArgumentError: It is none of the profile's form.
            UnavailableError: The process that reads it was ended.
            OSError: The disk.
            ResourceExhaustedError: No room.
        """
        target = self.part(str(next(self._numbers)))
        try:
            await asyncio.to_thread(self._take_room, target, manifest.size_bytes)
            await rewrite_file(part, target, profile, known)
            manifest.uploaded_as, manifest.uploaded_sha256 = profile.in_words(), manifest.sha256
            manifest.size_bytes, manifest.sha256 = await in_thread(_durable, target)
            return target, manifest
        except BaseException as error:
            await in_thread(self.discard, target)
            if isinstance(error, NotOfProfileError):
                reason = f"{manifest.file_name}: {error}; nothing was stored, mend the file or the profile"
                raise InvalidArgumentError(reason, reason="FILE_NOT_OF_PROFILE", field="profile") from error
            if isinstance(error, RewritingEndedError):
                raise UnavailableError(f"{manifest.file_name}: {error}; nothing was stored, try again") from error
            raise
        finally:
            self._give_room(target)
            await in_thread(self.discard, part)

    async def copy_of(self, manifest: types_pb2.ImportManifest, pieces: AsyncIterator[bytes]) -> None:
        """Keeps the file of an import that is kept elsewhere too.

        Raises:
            DataLossError: The pieces are not the file.
            ResourceExhaustedError: No room.
            OSError: The disk.
        """
        header = pusher_pb2.UploadImportHeader(file_name=manifest.file_name, size_bytes=manifest.size_bytes)

        async def requests() -> AsyncIterator[pusher_pb2.UploadImportRequest]:
            offset = 0
            async for data in pieces:
                for begin in range(0, len(data), CHUNK_BYTES):
                    chunk = make_chunk(offset, data[begin : begin + CHUNK_BYTES])
                    yield pusher_pb2.UploadImportRequest(chunk=chunk)
                    offset += len(chunk.data)

        header.sha256 = manifest.sha256
        part, _ = await self.receive(header, requests())
        try:
            await asyncio.to_thread(self.keep, part, manifest)
        finally:
            await in_thread(self.discard, part)

    def link(self, old: types_pb2.ImportManifest, new: types_pb2.ImportManifest) -> None:
        """Gives an old import's file a new one's place too, durably. Blocks.

        Raises:
            OSError: The old one is gone, or the disk.
        """
        link_durably(self.path(old), self.path(new))


async def _write(
    part: Path, header: pusher_pb2.UploadImportHeader, requests: AsyncIterator[pusher_pb2.UploadImportRequest]
) -> bytes:
    writer = await in_thread(ChunkWriter, part, header.size_bytes)
    try:
        async for request in requests:
            if request.WhichOneof("part") != "chunk":
                raise InvalidArgumentError("only chunks may follow the header", field="part")
            await in_thread(writer.write, request.chunk)
        return await in_thread(writer.finish, header.sha256)
    finally:
        await in_thread(writer.close)


def _size_bytes(file: Path) -> int:
    """What a file has by now; 0 where it is not there yet."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _durable(file: Path) -> tuple[int, bytes]:
    """Makes a file's bytes durable; returns how much is in it, and the SHA-256 of that."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
    return content_size(file, IMPORT_FILE), content_sha256(file)


def _read_head(file: Path) -> bytes:
    with ContentFile(file, IMPORT_FILE) as opened:
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
