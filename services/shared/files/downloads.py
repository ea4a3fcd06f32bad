"""Files in chunks, both ways: served from an open file, and fetched from the first source that has them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
import grpc.aio

from fasttree.v1 import types_pb2
from services.shared.files.chunks import CHUNK_BYTES, ChunkDamagedError, ChunkWriter, make_chunk
from services.shared.files.sealed.errors import SealDamagedError, SealKeyError
from services.shared.files.sealed.names import IMPORT_FILE, SealedAs
from services.shared.files.sealed.reading import Content, content_of
from services.shared.files.threads import in_thread
from services.shared.serving.errors import DataLossError, NotFoundError, OutOfRangeError

#: A source has to bring so much, or the rest, in each time that it may be silent for. One that trickles would hold a
#: load for as long as it likes; what it brought is not lost.
PACE_BYTES = 1 << 20
#: How often each source is asked: one that was cut off may go on, and a beginning of another file is gone by then.
ROUNDS = 2

logger = logging.getLogger(__name__)


class DownloadFailedError(Exception):
    """No source gave the file. One line that says what each of them did."""


class Wanted(NamedTuple):
    """A file as its manifest announces it."""

    size_bytes: int
    sha256: bytes


#: Asks one source for the chunks from an offset on.
OpenSource = Callable[[str, int], AsyncGenerator[types_pb2.Chunk, None]]
#: Told the share that is there, 0.0 to 1.0.
Progress = Callable[[float], None]


async def serve_chunks(
    path: Path, offset: int, size_bytes: int, sealed_as: SealedAs = IMPORT_FILE
) -> AsyncIterator[types_pb2.Chunk]:
    """The chunks of what is in the file, from `offset` on. The file may be removed meanwhile: it stays readable to the
    end.

    Raises:
        NotFoundError: The file was removed just now.
        OutOfRangeError: The offset is past the end.
        DataLossError: The file is shorter than it should be, or sealed and not to be opened.
    """
    check_offset(offset, size_bytes)
    try:
        descriptor = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFoundError(f"{path.name} has just been removed; ask for the newest", value=path.name) from None
    except OSError as error:
        raise DataLossError(f"{path.name} can't be read: {error}") from error
    try:
        content = await asyncio.to_thread(_content, descriptor, path.name, sealed_as)
        while offset < size_bytes:
            chunk = await asyncio.to_thread(_read_chunk, content, path.name, offset, size_bytes)
            yield chunk
            offset += len(chunk.data)
    finally:
        os.close(descriptor)


def check_offset(offset: int, size_bytes: int) -> None:
    """Raises OutOfRangeError where a file of that size has no such offset."""
    if offset > size_bytes:
        raise OutOfRangeError(
            f"offset {offset} is past the end of {size_bytes} bytes", field="offset", value=str(offset)
        )


def _content(descriptor: int, name: str, sealed_as: SealedAs) -> Content:
    try:
        return content_of(descriptor, sealed_as, name)
    except (OSError, SealDamagedError, SealKeyError) as error:
        raise DataLossError(f"{name} can't be read: {error}") from error


def _read_chunk(content: Content, name: str, offset: int, size_bytes: int) -> types_pb2.Chunk:
    data = bytearray(min(CHUNK_BYTES, size_bytes - offset, max(0, content.size_bytes - offset)))
    if not data:
        raise DataLossError(f"{name} ends at byte {offset}, {size_bytes} were expected")
    try:
        if not content.read_into(memoryview(data), offset):
            raise DataLossError(f"{name} became shorter while it was read")
    except (OSError, SealDamagedError) as error:
        raise DataLossError(f"{name} can't be read: {error}") from error
    return make_chunk(offset, bytes(data))


async def fetch(
    wanted: Wanted,
    part: Path,
    sources: Sequence[str],
    open_source: OpenSource,
    silence_s: float,
    progress: Progress,
    sealed_as: SealedAs = IMPORT_FILE,
) -> None:
    """Downloads into `part`, going on where an earlier try stopped, from one source after another.

    Returns once the whole is there, durable, and its SHA-256 is right.

    Args:
        wanted: Size and checksum.
        part: The file; what it holds already must be the beginning of the same content.
        sources: host:port of each, the best one first.
        open_source: Asks one of them.
        silence_s: A source that sends nothing, or less than `PACE_BYTES`, for so long is given up, in seconds.
        progress: Told how far it is.
        sealed_as: What the file is, where this process has keys.

    Raises:
        DownloadFailedError: Every source failed.
        OSError: The disk.
    """
    failures: list[str] = []
    for source in [*sources] * ROUNDS:
        writer = await in_thread(ChunkWriter, part, wanted.size_bytes, sealed_as)
        try:
            await _fetch_from(source, writer, wanted, open_source, silence_s, progress)
            await in_thread(writer.finish, wanted.sha256)
            return
        except (grpc.aio.AioRpcError, ChunkDamagedError, TimeoutError) as error:
            failures.append(f"{source}: {_told(error, silence_s)}")
            logger.warning("download of %s from %s failed: %s", part.name, source, failures[-1])
        finally:
            await in_thread(writer.close)
    raise DownloadFailedError("; ".join(failures) or "no source is known")


async def _fetch_from(
    source: str, writer: ChunkWriter, wanted: Wanted, open_source: OpenSource, silence_s: float, progress: Progress
) -> None:
    loop = asyncio.get_running_loop()
    due_s, due_offset = loop.time() + silence_s, writer.offset + PACE_BYTES
    async with contextlib.aclosing(open_source(source, writer.offset)) as chunks:
        while writer.offset < wanted.size_bytes:
            if writer.offset >= due_offset:
                due_s, due_offset = loop.time() + silence_s, writer.offset + PACE_BYTES
            async with asyncio.timeout_at(due_s):
                chunk = await anext(chunks, None)
            if chunk is None:
                raise ChunkDamagedError(f"it ended at byte {writer.offset} of {wanted.size_bytes}")
            await in_thread(writer.write, chunk)
            progress(writer.offset / wanted.size_bytes)


def _told(error: Exception, silence_s: float) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return f"silent, or nearly so, for {silence_s:g} s" if isinstance(error, TimeoutError) else str(error)
