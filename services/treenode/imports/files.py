"""The import files that the node has, for itself and for its peers.

Beside what every `ImportFileStore` has: `ID.manifest`, the encoded manifest of a whole file, written after it. So a
manifest means a whole file. A download that was not finished stays, and the next try of the same file goes on from
there; that of another one removes it.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from google.protobuf.message import DecodeError

from fasttree.v1 import types_pb2
from services.shared.domain.addresses import address_problem
from services.shared.files.downloads import Progress, Wanted, fetch
from services.shared.files.durable import remove_durably, remove_leftovers, write_durably
from services.shared.files.import_files import ImportFileStore
from services.shared.files.import_source import HeldImport, open_import
from services.shared.files.names import check_file_name
from services.shared.files.sealed.errors import SealDamagedError, SealKeyError
from services.shared.files.sealed.names import IMPORT_FILE
from services.shared.files.sealed.reading import content_size
from services.shared.serving.errors import InvalidArgumentError, NotFoundError, ResourceExhaustedError

SHA256_BYTES = 32
SOURCES_MAX = 100

_MANIFEST = ".manifest"

logger = logging.getLogger(__name__)


class ImportFiles(ImportFileStore):
    """The folder of one node's import files."""

    def __init__(self, folder: Path, *, kept: int, bytes_max: int, silence_s: float) -> None:
        super().__init__(folder)
        self._kept = kept
        self._bytes_max = bytes_max
        self._silence_s = silence_s

    async def find(self, import_id: int) -> HeldImport:
        """The manifest and the file of an import. Raises NotFoundError."""
        held = await asyncio.to_thread(self.held, import_id)
        if held is None:
            raise NotFoundError(
                f"import {import_id} is not here (any more); ask the pusher", field="import_id", value=str(import_id)
            )
        return held

    def held(self, import_id: int) -> HeldImport | None:
        """The manifest and the file of an import, if it is here. Blocks."""
        manifest_path = self._manifest_path(import_id)
        try:
            manifest = types_pb2.ImportManifest.FromString(manifest_path.read_bytes())
            path = self.path(manifest)
            if content_size(path, IMPORT_FILE) == manifest.size_bytes:
                return HeldImport(manifest, path)
        except (OSError, DecodeError, InvalidArgumentError, SealDamagedError, SealKeyError) as error:
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
        held = await asyncio.to_thread(self._whole, manifest)
        if held is not None:
            return held
        part = await asyncio.to_thread(self._begin, manifest)
        wanted = Wanted(manifest.size_bytes, manifest.sha256)
        await fetch(wanted, part, sources, open_import(manifest.import_id), self._silence_s, progress)
        return await asyncio.to_thread(self._take, part, manifest)

    def _check(self, manifest: types_pb2.ImportManifest, sources: list[str]) -> None:
        if manifest.import_id == 0:
            raise InvalidArgumentError("import_id must be 1 or more", field="manifest.import_id")
        if len(manifest.sha256) != SHA256_BYTES:
            raise InvalidArgumentError(f"sha256 must have {SHA256_BYTES} bytes", field="manifest.sha256")
        check_file_name(manifest.file_name, "manifest.file_name")
        if len(sources) > SOURCES_MAX:
            raise InvalidArgumentError(f"at most {SOURCES_MAX} sources", field="sources")
        for source in sources:
            if problem := address_problem(source):
                raise InvalidArgumentError(f"sources: {problem}", field="sources", value=source)
        if not 0 < manifest.size_bytes <= self._bytes_max:
            raise ResourceExhaustedError(
                f"the import file has {manifest.size_bytes} bytes, 1 to {self._bytes_max} are taken; set "
                "treenode.import_bytes_max",
                field="manifest.size_bytes",
            )

    def _manifest_path(self, import_id: int) -> Path:
        return self.folder / f"{import_id:06d}{_MANIFEST}"

    def _whole(self, manifest: types_pb2.ImportManifest) -> Path | None:
        """The file, where it is here and still what it was."""
        held = self.held(manifest.import_id)
        if held is None or held.manifest.sha256 != manifest.sha256:
            return None
        if problem := self.problem(held.manifest):
            logger.warning("the file of import %d %s; fetches it again", manifest.import_id, problem)
            remove_durably(self._manifest_path(manifest.import_id), held.path)
            return None
        return held.path

    def _begin(self, manifest: types_pb2.ImportManifest) -> Path:
        """Where the download goes; what one of another file left is removed."""
        part = self.part(f"{manifest.import_id:06d}-{manifest.sha256.hex()[:16]}")
        remove_leftovers(self.incoming, but={part})
        return part

    def _take(self, part: Path, manifest: types_pb2.ImportManifest) -> Path:
        self.keep(part, manifest)
        write_durably(self._manifest_path(manifest.import_id), manifest.SerializeToString())
        self._prune(manifest)
        return self.path(manifest)

    def _prune(self, just_fetched: types_pb2.ImportManifest) -> None:
        """Removes all but the newest few.

        Never the one that was just fetched: it is the newest even where files of another log have higher numbers.
        """
        ids = {int(path.stem) for path in self.folder.glob("*" + _MANIFEST) if path.stem.isdecimal()}
        older = [self.held(import_id) for import_id in sorted(ids - {just_fetched.import_id}, reverse=True)]
        kept = [just_fetched, *(held.manifest for held in older if held is not None)][: self._kept]
        self.remove_all_but(
            [*(self.path(manifest) for manifest in kept), *(self._manifest_path(each.import_id) for each in kept)]
        )
