"""Import files: upload, progress, the way back."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
import unicodedata
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from fasttree.client.calls.retries import Retries, Waits, heed_cancellation, patience_s
from fasttree.client.calls.servers import Servers
from fasttree.client.calls.streams import broken, promptly
from fasttree.client.errors import FastTreeClientError, call_error
from fasttree.client.files import open_regular
from fasttree.client.tracing import call_metadata
from fasttree.v1 import pusher_pb2, pusher_pb2_grpc, types_pb2

CHUNK_BYTES = 512 * 1024
_PATIENCE_S = 60.0
#: For the question what is there already.
_ASK_S = 10.0

#: An import whose rollout is over.
FINAL_STATES = frozenset(
    {pusher_pb2.IMPORT_STATE_DONE, pusher_pb2.IMPORT_STATE_REFUSED, pusher_pb2.IMPORT_STATE_SUPERSEDED}
)

_NAME_BYTES_MAX = 200
# Controls, line ends of Unicode, what turns text about, what separates folders, bytes that are no UTF-8.
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069/\\\ud800-\udfff]")


def upload_name(name: str) -> str:
    """What a file of any name is uploaded as: its own name, with _ for what the pusher takes in none. Letters with
    their accents are one character each, whichever way a disk has them."""
    fit = unicodedata.normalize("NFC", _UNFIT.sub("_", name))
    if len(fit.encode()) > _NAME_BYTES_MAX:  # what it ends with says how it is packed
        half, encoded = _NAME_BYTES_MAX // 2, fit.encode()
        fit = unicodedata.normalize(
            "NFC", encoded[:half].decode(errors="ignore") + encoded[-half:].decode(errors="ignore")
        )
    return "_" if fit in ("", ".", "..") else fit


_Call = grpc.aio.StreamUnaryCall[pusher_pb2.UploadImportRequest, pusher_pb2.UploadImportResponse]


class ImportFileError(FastTreeClientError):
    """The file can't be read, or changed while it was sent."""


@dataclass(frozen=True, kw_only=True)
class UploadOptions:
    """What goes with the file."""

    #: The log position that the export began at (see `Client.get_pusher`); None: the log's end when the upload begins.
    as_of_position: int | None = None
    #: Take it in spite of the reconciliation's thresholds.
    force: bool = False
    #: Where no position is named and updates came since the file was written: have the pusher refuse the file
    #: (FailedPreconditionError, UPDATES_SINCE_EXPORT) instead of taking it with a remark.
    ask_first: bool = False
    #: The form of a company's own CSV file; None: it is written as imports are.
    profile: pusher_pb2.ImportProfile | None = None
    #: Instead of it, the name of one that is kept beside the pusher.
    profile_name: str = ""
    #: How long to keep trying, and to wait for the pusher to take the next chunk. None: `Retries.patience_s`, or 60.
    patience_s: float | None = None


class Upload:
    """One upload: header, chunks with a CRC each, SHA-256 of the whole."""

    def __init__(
        self,
        pushers: Servers[pusher_pb2_grpc.PusherServiceAsyncStub],
        path: Path,
        options: UploadOptions,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._pushers = pushers
        self._path = path
        self._options = options
        self._progress = progress or (lambda sent_bytes, size_bytes: None)
        self._header = pusher_pb2.UploadImportHeader()
        self._patience_s = _PATIENCE_S
        #: The pusher took nothing of it for too long.
        self._stalled = False

    async def run(self, retries: Retries) -> types_pb2.ImportManifest:
        """Uploads until the pusher has it whole. Raises a CallError, or ImportFileError.

        Whether a broken attempt arrived after all is asked before the next one: an import newer than those that were
        there at first, with the same checksum, is ours.
        """
        self._header = await asyncio.to_thread(self._read_header)
        waits = Waits(retries)
        self._patience_s = patience_s(self._options.patience_s, retries, _PATIENCE_S)
        deadline = time.monotonic() + self._patience_s
        newest_before: int | None = None
        while True:
            ask_s = min(_ASK_S, max(deadline - time.monotonic(), 0.001))
            try:
                imports = (await self._pushers.stub.GetPusher(pusher_pb2.GetPusherRequest(), timeout=ask_s)).imports
                if newest_before is None:
                    newest_before = max((status.manifest.import_id for status in imports), default=0)
                for status in imports:
                    manifest = status.manifest
                    uploaded = manifest.uploaded_sha256 or manifest.sha256
                    if manifest.import_id > newest_before and uploaded == self._header.sha256:
                        return manifest
                return await self._attempt()
            except grpc.aio.AioRpcError as error:
                heed_cancellation()
                again = self._pushers.may_retry(error)
                wait_s = 0.0 if self._pushers.missed(error) else waits.next_s()
                if not again or time.monotonic() + wait_s > deadline:
                    raise call_error(error, "UploadImport", self._pushers.address) from error
                await asyncio.sleep(wait_s)

    def _read_header(self) -> pusher_pb2.UploadImportHeader:
        try:
            with open_regular(self._path) as file:
                digest = hashlib.file_digest(file, "sha256")
                state = os.fstat(file.fileno())
        except OSError as error:
            raise ImportFileError(f"{self._path} can't be read: {error.strerror}") from None
        return pusher_pb2.UploadImportHeader(
            file_name=upload_name(self._path.name),
            size_bytes=state.st_size,
            sha256=digest.digest(),
            as_of_position=self._options.as_of_position,
            force=self._options.force,
            file_age_ms=max(0, int((time.time() - state.st_mtime) * 1_000)),
            ask_first=self._options.ask_first,
            profile=self._options.profile,
            profile_name=self._options.profile_name,
        )

    async def _attempt(self) -> types_pb2.ImportManifest:
        """One try. The chunks are written from a task of their own: a pusher that refuses ends the call early."""
        call = self._pushers.stub.UploadImport(metadata=call_metadata())
        sender = asyncio.create_task(self._send(call))
        try:
            response: pusher_pb2.UploadImportResponse = await call
            return response.manifest
        except asyncio.CancelledError:
            if self._stalled:  # by our own cancel of the call
                text = f"it took nothing of the file for {self._patience_s:g} s"
                raise broken(text) from None
            raise
        finally:
            failure = sender.exception() if sender.done() and not sender.cancelled() else None
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            if isinstance(failure, ImportFileError):
                raise failure

    async def _write(self, call: _Call, message: pusher_pb2.UploadImportRequest) -> None:
        """Ends the call where the pusher takes nothing of it for too long."""
        try:
            async with asyncio.timeout(self._patience_s):
                await call.write(message)
        except TimeoutError:
            self._stalled = True
            call.cancel()
            raise asyncio.InvalidStateError from None

    async def _send(self, call: _Call) -> None:
        try:
            await self._write(call, pusher_pb2.UploadImportRequest(header=self._header))
            with open_regular(self._path) as file:
                offset = 0
                while data := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    chunk = types_pb2.Chunk(offset=offset, data=data, crc32=zlib.crc32(data))
                    await self._write(call, pusher_pb2.UploadImportRequest(chunk=chunk))
                    offset += len(data)
                    self._progress(offset, self._header.size_bytes)
            await call.done_writing()
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            return  # the call is over; its answer says why
        except OSError as error:
            call.cancel()
            raise ImportFileError(f"{self._path} can't be read: {error.strerror}") from None


async def watch_import(
    pushers: Servers[pusher_pb2_grpc.PusherServiceAsyncStub],
    import_id: int,
    retries: Retries,
    asked_s: float | None,
) -> AsyncIterator[pusher_pb2.ImportStatus]:
    """An import's progress until its rollout is over. A broken stream is opened again; gives up after `asked_s` (None:
    the client's patience) without a word (CallError). Each stream's first word is due at once, the others when there is
    news."""
    waits = Waits(retries)
    patient_s = patience_s(asked_s, retries, _PATIENCE_S)
    heard_at = time.monotonic()
    while True:
        call = pushers.stub.WatchImport(pusher_pb2.WatchImportRequest(import_id=import_id))
        try:
            async for response in promptly(call, max(heard_at + patient_s - time.monotonic(), 0.001)):
                heard_at = time.monotonic()
                waits.reset()
                pushers.answered()
                yield response.status
                if response.status.state in FINAL_STATES:
                    return
        except grpc.aio.AioRpcError as error:
            heed_cancellation()
            if not pushers.may_retry(error) or time.monotonic() - heard_at > patient_s:
                raise call_error(error, "WatchImport", pushers.address) from error
            if pushers.missed(error):
                continue
        finally:
            call.cancel()
        await asyncio.sleep(waits.next_s())
