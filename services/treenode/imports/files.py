"""The import files that the node has, for itself and for its peers.

| in the folder | what |
|---|---|
| `<import>.file` | a whole file, checked against its SHA-256 |
| `<import>.manifest` | its manifest, encoded; written after the file, so a manifest means a whole file |
| `<import>.part` | a download that was not finished; the next try goes on from there |
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import grpc.aio
from google.protobuf.message import DecodeError

from fasttree.v1 import import_source_pb2, import_source_pb2_grpc, types_pb2
from services.shared.files.downloads import Progress, Wanted, fetch, serve_chunks
from services.shared.serving.channels import open_channel
from services.shared.serving.errors import InvalidArgumentError, NotFoundError, ResourceExhaustedError

SHA256_BYTES = 32
SOURCES_MAX = 100

_FILE_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")

logger = logging.getLogger(__name__)


class ImportFiles:
    """The folder of one node's import files."""

    def __init__(self, folder: Path, *, kept: int, bytes_max: int, silence_s: float) -> None:
        self._folder = folder
        self._kept = kept
        self._bytes_max = bytes_max
        self._silence_s = silence_s
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, import_id: int) -> tuple[types_pb2.ImportManifest, Path] | None:
        """The manifest and the file of an import, if it is here."""
        manifest_path, path = self._paths(import_id)
        try:
            manifest = types_pb2.ImportManifest.FromString(manifest_path.read_bytes())
            if path.stat().st_size == manifest.size_bytes:
                return manifest, path
        except (OSError, DecodeError) as error:
            if manifest_path.exists():
                logger.warning("import file %d can't be used: %s", import_id, error)
        return None

    async def get(self, manifest: types_pb2.ImportManifest, sources: list[str], progress: Progress) -> Path:
        """The file, from this disk or from the first source that gives it.

        Raises:
            InvalidArgumentError, ResourceExhaustedError: A manifest that can't be taken.
            DownloadFailedError: No source gave it.
        """
        self._check(manifest, sources)
        found = self.find(manifest.import_id)
        if found is not None and found[0].sha256 == manifest.sha256:
            return found[1]
        manifest_path, path = self._paths(manifest.import_id)
        manifest_path.unlink(missing_ok=True)
        part = path.with_suffix(".part")

        async def chunks(source: str, offset: int) -> AsyncGenerator[types_pb2.Chunk, None]:
            async with open_channel(source) as channel:
                stub = import_source_pb2_grpc.ImportSourceServiceStub(channel)
                request = import_source_pb2.DownloadImportRequest(import_id=manifest.import_id, offset=offset)
                async for response in stub.DownloadImport(request):
                    if response.HasField("chunk"):
                        yield response.chunk

        wanted = Wanted(manifest.size_bytes, manifest.sha256)
        await fetch(wanted, part, sources, chunks, self._silence_s, progress)
        part.rename(path)
        manifest_path.write_bytes(manifest.SerializeToString())
        self._prune(manifest.import_id)
        return path

    def _check(self, manifest: types_pb2.ImportManifest, sources: list[str]) -> None:
        if manifest.import_id == 0:
            raise InvalidArgumentError("import_id must be 1 or more", field="manifest.import_id")
        if len(manifest.sha256) != SHA256_BYTES:
            raise InvalidArgumentError(f"sha256 must have {SHA256_BYTES} bytes", field="manifest.sha256")
        if not _FILE_NAME.fullmatch(manifest.file_name):
            raise InvalidArgumentError("file_name must be 1 to 128 of A-Z a-z 0-9 . _ -", field="manifest.file_name")
        if len(sources) > SOURCES_MAX:
            raise InvalidArgumentError(f"at most {SOURCES_MAX} sources", field="sources")
        if not 0 < manifest.size_bytes <= self._bytes_max:
            raise ResourceExhaustedError(
                f"the import file has {manifest.size_bytes} bytes, 1 to {self._bytes_max} are taken; set "
                "treenode.import_bytes_max",
                field="manifest.size_bytes",
            )

    def _paths(self, import_id: int) -> tuple[Path, Path]:
        return self._folder / f"{import_id}.manifest", self._folder / f"{import_id}.file"

    def _prune(self, just_fetched: int) -> None:
        """Removes all but the newest few, and downloads older than those.

        Never the one that was just fetched: it is the newest even where files of another log have higher numbers.
        """
        ids = {int(path.stem) for path in self._folder.glob("*.*") if path.stem.isdecimal()} - {just_fetched}
        for import_id in sorted(ids, reverse=True)[self._kept - 1 :]:
            for suffix in (".manifest", ".file", ".part"):
                (self._folder / f"{import_id}{suffix}").unlink(missing_ok=True)


class ImportSourceServicer(import_source_pb2_grpc.ImportSourceServiceServicer):
    """fasttree.v1.ImportSourceService over this node's files."""

    def __init__(self, files: ImportFiles) -> None:
        self._files = files

    async def DownloadImport(
        self,
        request: import_source_pb2.DownloadImportRequest,
        context: grpc.aio.ServicerContext[
            import_source_pb2.DownloadImportRequest, import_source_pb2.DownloadImportResponse
        ],
    ) -> AsyncIterator[import_source_pb2.DownloadImportResponse]:
        """The manifest, then the file from the offset on."""
        found = self._files.find(request.import_id)
        if found is None:
            raise NotFoundError(
                f"import {request.import_id} is not here (any more); ask the pusher",
                field="import_id",
                value=str(request.import_id),
            )
        manifest, path = found
        yield import_source_pb2.DownloadImportResponse(manifest=manifest)
        async for chunk in serve_chunks(path, request.offset, manifest.size_bytes):
            yield import_source_pb2.DownloadImportResponse(chunk=chunk)
