"""The files of imports in the store, by what is in them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Collection
from pathlib import Path

from fasttree.v1 import types_pb2
from services.shared.objects.objects import ObjectDamagedError, ObjectMissingError, Objects
from services.shared.objects.parts import WHOLE, FilesInParts, Index

_KEY = re.compile(r"([0-9]{6,20})-([0-9a-f]{64})")


class ImportObjects:
    """The files of imports in a place for objects. One is found by its SHA-256, so that an import that was taken again
    has the objects of the first.

    Args:
        objects: The place.
        part_bytes: Size of a part.
        parallel: How many are put at a time.
    """

    def __init__(self, objects: Objects, part_bytes: int, parallel: int) -> None:
        self.objects = objects
        self._files = FilesInParts(objects, part_bytes, parallel)

    async def keep(self, manifest: types_pb2.ImportManifest, file: Path) -> None:
        """Puts the file; it is in the store, whole, once this returns. Raises as `FilesInParts.keep`."""
        key = _key_of(manifest)
        if not await self._files.keep(key, file, manifest.sha256, manifest.file_name):
            await self._index_of(key, manifest)

    async def problem(self, manifest: types_pb2.ImportManifest) -> str | None:
        """What keeps the file from being read, as the end of a sentence, as far as names and sizes tell; None: nothing.

        Raises StoreAwayError.
        """
        try:
            key, index = await self._find(manifest)
            self._files.check_sizes(key, index, await self.objects.sizes(key))
        except ObjectMissingError:
            return f"is not in {self.objects.place}"
        except ObjectDamagedError as error:
            return f"is damaged: {error}"
        return None

    async def whole(self) -> set[bytes]:
        """SHA-256 of each file that was put whole, whatever became of its parts. Raises StoreAwayError."""
        names = [name.partition("/") for name in await self.objects.sizes("")]
        keys = [_KEY.fullmatch(key) for key, _, name in names if name == WHOLE]
        return {bytes.fromhex(found[2]) for found in keys if found}

    async def read(self, manifest: types_pb2.ImportManifest, offset: int) -> AsyncGenerator[bytes, None]:
        """The file from an offset on. Raises as `FilesInParts.read`; ObjectMissingError where it is not there."""
        key, index = await self._find(manifest)
        async for piece in self._files.read(key, index, offset):
            yield piece

    async def forget(self, newest_id: int, needed: Collection[bytes]) -> list[str]:
        """Removes the objects of imports that nothing needs; returns their names.

        Of imports up to the newest in the log, which say all that is to be known of these ids: what has a higher one is
        being put by somebody. Whoever decides by a log of yesterday removes nothing that is needed: what once is not
        needed will never be again.

        Args:
            newest_id: The newest import that is in the log.
            needed: SHA-256 of each file that is needed.

        Raises:
            StoreAwayError: The store.
        """
        names = [name.partition("/") for name in await self.objects.sizes("")]
        settled = {key: found for key, _, _ in names if (found := _KEY.fullmatch(key)) and int(found[1]) <= newest_id}
        kept = {sha256.hex(): "" for sha256 in needed}
        whole_keys = [key for key, _, name in names if name == WHOLE and key in settled]
        for key in sorted(whole_keys, key=lambda key: int(settled[key][1])):
            if settled[key][2] in kept:
                kept[settled[key][2]] = key  # of a file that was taken in twice, the newest objects
        removed = [
            "/".join((key, name))
            for key, _, name in names
            if key in settled and kept.get(settled[key][2]) not in (key, "")
        ]
        await self._files.remove(removed)
        return removed

    async def _find(self, manifest: types_pb2.ImportManifest) -> tuple[str, Index]:
        """Where the file is. Raises ObjectMissingError, ObjectDamagedError, StoreAwayError."""
        key = _key_of(manifest)
        try:
            return key, await self._index_of(key, manifest)
        except ObjectMissingError:
            # It was taken before, as another import.
            for name in sorted(await self.objects.sizes("")):
                found = _KEY.fullmatch(name.partition("/")[0])
                if found and found[2] == manifest.sha256.hex() and name.endswith(f"/{WHOLE}"):
                    return found[0], await self._index_of(found[0], manifest)
            raise

    async def _index_of(self, key: str, manifest: types_pb2.ImportManifest) -> Index:
        index = await self._files.index_of(key)
        if index.size_bytes != manifest.size_bytes:
            name = self.objects.full_name(f"{key}/{WHOLE}")
            raise ObjectDamagedError(f"{name} is damaged: its parts are not {manifest.size_bytes} bytes")
        return index


def _key_of(manifest: types_pb2.ImportManifest) -> str:
    return f"{manifest.import_id:06d}-{manifest.sha256.hex()}"
