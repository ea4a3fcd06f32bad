"""fasttree.v1.ImportSourceService, both ends: an import file given to whoever asks, and asked for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import grpc.aio

from fasttree.v1 import import_source_pb2, import_source_pb2_grpc, types_pb2
from services.shared.files.downloads import OpenSource, serve_chunks
from services.shared.serving.channels import open_channel
from services.shared.telemetry.tracer import call_metadata

_Request: TypeAlias = import_source_pb2.DownloadImportRequest
_Response: TypeAlias = import_source_pb2.DownloadImportResponse


class HeldImport(NamedTuple):
    """An import whose file is here."""

    manifest: types_pb2.ImportManifest
    path: Path


def _of_file(held: HeldImport, offset: int) -> AsyncIterator[types_pb2.Chunk]:
    return serve_chunks(held.path, offset, held.manifest.size_bytes)


#: A held import's chunks from an offset on.
Chunks = Callable[[HeldImport, int], AsyncIterator[types_pb2.Chunk]]
#: Finds an import by the id that was asked for. Raises NotFoundError.
FindImport = Callable[[int], Awaitable[HeldImport]]


class ImportSourceServicer(import_source_pb2_grpc.ImportSourceServiceServicer):
    """See proto/fasttree/v1/import_source.proto."""

    def __init__(self, find: FindImport, chunks: Chunks = _of_file) -> None:
        self._find, self._chunks = find, chunks

    async def DownloadImport(
        self, request: _Request, context: grpc.aio.ServicerContext[_Request, _Response]
    ) -> AsyncIterator[_Response]:
        held = await self._find(request.import_id)
        yield import_source_pb2.DownloadImportResponse(manifest=held.manifest)
        async for chunk in self._chunks(held, request.offset):
            yield import_source_pb2.DownloadImportResponse(chunk=chunk)


def open_import(import_id: int) -> OpenSource:
    """Asks for an import's chunks; see `fetch`."""

    async def chunks(source: str, offset: int) -> AsyncGenerator[types_pb2.Chunk, None]:
        async with open_channel(source) as channel:
            stub = import_source_pb2_grpc.ImportSourceServiceStub(channel)
            request = import_source_pb2.DownloadImportRequest(import_id=import_id, offset=offset)
            async for response in stub.DownloadImport(request, metadata=call_metadata()):
                if response.HasField("chunk"):
                    yield response.chunk

    return chunks
