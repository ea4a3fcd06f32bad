"""An import's file as objects: put in parts, found whole, read part by part, each against its checksum."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from fasttree.v1 import types_pb2
from services.pusher.import_store.objects import ObjectDamagedError, ObjectMissingError, Objects
from services.shared.files.threads import in_thread
from services.shared.forms import Form
from services.shared.serving.errors import DataLossError

_WHOLE = "whole"
#: The largest file in the smallest parts has less.
_INDEX_BYTES_MAX = 32 << 20
_PART_BYTES_MAX = 256 << 20
_KEY = re.compile(r"([0-9]{6,20})-([0-9a-f]{64})")


class _Part(msgspec.Struct, frozen=True):
    size_bytes: int
    sha256: str


class _Index(msgspec.Struct, frozen=True):
    """What `whole` says, for people too."""

    form: int
    file_name: str
    parts: list[_Part]


_INDEX: Form[_Index] = Form(_Index)
_FORM = 1


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
        self._part_bytes, self._parallel = part_bytes, parallel

    async def keep(self, manifest: types_pb2.ImportManifest, file: Path) -> None:
        """Puts the file; it is in the store, whole, once this returns. What an earlier try put is not put again.

        Raises:
            StoreAwayError, ResourceExhaustedError: The store.
            ObjectDamagedError: What is in the store is not what was put.
            DataLossError: The file is not the manifest's.
            OSError: It can't be read.
        """
        key = f"{manifest.import_id:06d}-{manifest.sha256.hex()}"
        before = await self.objects.sizes(key)
        parts = await self._put_parts(key, manifest, file, before)
        index = _index_bytes(_Index(_FORM, manifest.file_name, parts))
        names = dict(_named(key, parts))
        self._check_sizes(names, await self.objects.sizes(key))
        if not await self.objects.put_new(f"{key}/{_WHOLE}", index):
            # By an earlier try, with parts of another size perhaps: then that one counts.
            found = await self._index_of(key, manifest)
            self._check_sizes(dict(_named(key, found.parts)), await self.objects.sizes(key))

    async def problem(self, manifest: types_pb2.ImportManifest) -> str | None:
        """What keeps the file from being read, as the end of a sentence, as far as names and sizes tell; None: nothing.

        Raises StoreAwayError.
        """
        try:
            key, index = await self._find(manifest)
            self._check_sizes(dict(_named(key, index.parts)), await self.objects.sizes(key))
        except ObjectMissingError:
            return f"is not in {self.objects.place}"
        except ObjectDamagedError as error:
            return f"is damaged: {error}"
        return None

    async def whole(self) -> set[bytes]:
        """SHA-256 of each file that was put whole, whatever became of its parts. Raises StoreAwayError."""
        names = [name.partition("/") for name in await self.objects.sizes("")]
        keys = [_KEY.fullmatch(key) for key, _, name in names if name == _WHOLE]
        return {bytes.fromhex(found[2]) for found in keys if found}

    async def read(self, manifest: types_pb2.ImportManifest, offset: int) -> AsyncGenerator[bytes, None]:
        """The file from an offset on; nothing of a part before the whole of it was found good.

        Raises:
            StoreAwayError: The store.
            ObjectMissingError: The file is not there.
            ObjectDamagedError: An object of it is not what was put, or missing.
        """
        key, index = await self._find(manifest)
        begin = 0
        for name, part in zip(_named(key, index.parts), index.parts, strict=True):
            end = begin + part.size_bytes
            if end > offset:
                data = await self._part(name[0], part)
                yield data[max(0, offset - begin) :]
            begin = end

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
        whole_keys = [key for key, _, name in names if name == _WHOLE and key in settled]
        for key in sorted(whole_keys, key=lambda key: int(settled[key][1])):
            if settled[key][2] in kept:
                kept[settled[key][2]] = key  # of a file that was taken in twice, the newest objects
        removed = [
            "/".join((key, name))
            for key, _, name in names
            if key in settled and kept.get(settled[key][2]) not in (key, "")
        ]
        # The index first: what it names is there for as long as it is.
        whole = [name for name in removed if name.endswith(f"/{_WHOLE}")]
        for group in (whole, [name for name in removed if name not in whole]):
            if group:
                await self.objects.remove(group)
        return removed

    async def _put_parts(
        self, key: str, manifest: types_pb2.ImportManifest, file: Path, before: dict[str, int]
    ) -> list[_Part]:
        parts: list[_Part] = []
        digest, room = hashlib.sha256(), asyncio.Semaphore(self._parallel)
        reading = await in_thread(_open, file)
        try:
            async with _tasks() as group:
                while True:
                    await room.acquire()
                    data, sha256 = await in_thread(_read_part, reading, self._part_bytes, digest)
                    if not data:
                        break
                    name = f"{key}/{len(parts):05d}-{sha256}"
                    parts.append(_Part(len(data), sha256))
                    group.create_task(self._put_part(name, data, before.get(name), room))
        finally:
            await in_thread(reading.close)
        if digest.digest() != manifest.sha256:
            raise DataLossError(f"{file} changed on this disk while it was put into {self.objects.place}; try again")
        return parts

    async def _put_part(self, name: str, data: bytes, before: int | None, room: asyncio.Semaphore) -> None:
        try:
            if before is not None and before != len(data):
                await self.objects.remove([name])  # its name says what should be in it
            if before != len(data):
                await self.objects.put_new(name, data)
        finally:
            room.release()

    def _check_sizes(self, wanted: dict[str, int], found: dict[str, int]) -> None:
        for name, size_bytes in wanted.items():
            if name not in found:
                raise ObjectDamagedError(f"{self.objects.full_name(name)} is missing")
            if found[name] != size_bytes:
                text = f"{self.objects.full_name(name)} has {found[name]} bytes, {size_bytes} were put"
                raise ObjectDamagedError(text)

    async def _find(self, manifest: types_pb2.ImportManifest) -> tuple[str, _Index]:
        """Where the file is. Raises ObjectMissingError, ObjectDamagedError, StoreAwayError."""
        key = f"{manifest.import_id:06d}-{manifest.sha256.hex()}"
        try:
            return key, await self._index_of(key, manifest)
        except ObjectMissingError:
            # It was taken before, as another import.
            for name in sorted(await self.objects.sizes("")):
                found = _KEY.fullmatch(name.partition("/")[0])
                if found and found[2] == manifest.sha256.hex() and name.endswith(f"/{_WHOLE}"):
                    return found[0], await self._index_of(found[0], manifest)
            raise

    async def _index_of(self, key: str, manifest: types_pb2.ImportManifest) -> _Index:
        name = f"{key}/{_WHOLE}"
        data = await self.objects.get(name, _INDEX_BYTES_MAX)
        text, _, sha256 = data.rpartition(b"\n")
        try:
            if hashlib.sha256(text).hexdigest().encode() != sha256:
                raise ValueError("its checksum is wrong")
            index = _INDEX.of_json(text)
            if index.form != _FORM:
                raise ValueError(f"it has form {index.form}: a newer version wrote it")
            if sum(part.size_bytes for part in index.parts) != manifest.size_bytes:
                raise ValueError(f"its parts are not {manifest.size_bytes} bytes")
        except (ValueError, msgspec.MsgspecError) as error:
            raise ObjectDamagedError(f"{self.objects.full_name(name)} is damaged: {error}") from error
        return index

    async def _part(self, name: str, part: _Part) -> bytes:
        try:
            data = await self.objects.get(name, min(part.size_bytes, _PART_BYTES_MAX))
        except ObjectMissingError as error:
            raise ObjectDamagedError(f"{self.objects.full_name(name)} is missing") from error
        if await asyncio.to_thread(_sha256, data) != part.sha256:
            raise ObjectDamagedError(f"{self.objects.full_name(name)} is damaged: its SHA-256 is not that of its name")
        return data


@asynccontextmanager
async def _tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A group of which the first error comes out as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors


def _named(key: str, parts: list[_Part]) -> list[tuple[str, int]]:
    return [(f"{key}/{number:05d}-{part.sha256}", part.size_bytes) for number, part in enumerate(parts)]


def _index_bytes(index: _Index) -> bytes:
    """As JSON, and in a line of its own the SHA-256 of that."""
    text = msgspec.json.encode(index)
    return text + b"\n" + hashlib.sha256(text).hexdigest().encode()


def _open(file: Path) -> BinaryIO:
    return file.open("rb")


def _read_part(file: BinaryIO, size_bytes: int, digest: hashlib._Hash) -> tuple[bytes, str]:
    data = file.read(size_bytes)
    digest.update(data)
    return data, _sha256(data)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
