"""A file as objects: put in parts, found whole, read part by part, each against its checksum.

Below the key of a file:

| name | what |
|---|---|
| `KEY/NUMBER-SHA256` | one part of the file, by its own SHA-256 |
| `KEY/whole` | which parts there are: a file is in the store once this is, and not empty: then it was given up |
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec

from services.shared.files.sealed.errors import SealDamagedError, SealKeyError
from services.shared.files.sealed.names import IMPORT_FILE, SealedAs
from services.shared.files.sealed.reading import ContentFile
from services.shared.files.threads import in_thread
from services.shared.forms import Form
from services.shared.objects.objects import ObjectDamagedError, ObjectMissingError, Objects
from services.shared.serving.errors import DataLossError

WHOLE = "whole"
#: The largest file in the smallest parts has less.
_INDEX_BYTES_MAX = 32 << 20
_PART_BYTES_MAX = 256 << 20


class Part(msgspec.Struct, frozen=True):
    """One part, as the index names it."""

    size_bytes: Annotated[int, msgspec.Meta(ge=1, le=_PART_BYTES_MAX)]
    #: It stands in the part's name: in any other form it could lead out of the place.
    sha256: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Index(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `whole` says, for people too."""

    form: int
    file_name: str
    parts: list[Part]
    #: Whatever who put it has to say of the file.
    about: dict[str, Any] = {}

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return sum(part.size_bytes for part in self.parts)


_INDEX: Form[Index] = Form(Index)
_FORM = 1


class FilesInParts:
    """Files in a place for objects, by keys.

    Args:
        objects: The place.
        part_bytes: Size of a part.
        parallel: How many are put at a time.
    """

    def __init__(self, objects: Objects, part_bytes: int, parallel: int) -> None:
        self.objects = objects
        self._part_bytes, self._parallel = part_bytes, parallel

    async def keep(
        self,
        key: str,
        file: Path,
        sha256: bytes,
        name: str,
        about: dict[str, Any] | None = None,
        sealed_as: SealedAs = IMPORT_FILE,
    ) -> bool:
        """Puts the file; one is there under the key, whole, once this returns. What an earlier try put is not put
        again. False: somebody's was there already.

        Args:
            key: Its key.
            file: Where it is.
            sha256: Of its content; it must be that.
            name: What people call it.
            about: What the index says of it besides.
            sealed_as: What the file is, where it may be sealed on this disk: its content is put.

        Raises:
            StoreAwayError, ResourceExhaustedError: The store.
            ObjectDamagedError: What is in the store is not what was put.
            DataLossError: The file is not the one that was meant.
            OSError: It can't be read.
        """
        before = await self.objects.sizes(key)
        parts = await self._put_parts(key, file, sealed_as, sha256, before)
        index = Index(_FORM, name, parts, about or {})
        self.check_sizes(key, index, await self.objects.sizes(key))
        if await self.objects.put_new(f"{key}/{WHOLE}", _index_bytes(index)):
            return True
        # By an earlier try, with parts of another size perhaps: then that one counts.
        self.check_sizes(key, await self.index_of(key), await self.objects.sizes(key))
        return False

    async def index_of(self, key: str) -> Index:
        """What there is under the key. Raises ObjectMissingError, ObjectDamagedError, StoreAwayError."""
        name = f"{key}/{WHOLE}"
        data = await self.objects.get(name, _INDEX_BYTES_MAX)
        if not data:
            raise ObjectDamagedError(f"{self.objects.full_name(name)} is empty: it was given up before it was whole")
        text, _, sha256 = data.rpartition(b"\n")
        try:
            if hashlib.sha256(text).hexdigest().encode() != sha256:
                raise ValueError("its checksum is wrong")
            index = _INDEX.of_json(text)
            if index.form != _FORM:
                raise ValueError(f"it has form {index.form}: a newer version wrote it")
        except (ValueError, msgspec.MsgspecError) as error:
            raise ObjectDamagedError(f"{self.objects.full_name(name)} is damaged: {error}") from error
        return index

    async def read(self, key: str, index: Index, offset: int) -> AsyncGenerator[bytes, None]:
        """The file from an offset on; nothing of a part before the whole of it was found good.

        Raises:
            StoreAwayError: The store.
            ObjectDamagedError: An object of it is not what was put, or missing.
        """
        begin = 0
        for name, part in zip(self.names_of(key, index), index.parts, strict=True):
            end = begin + part.size_bytes
            if end > offset:
                data = await self._part(name, part)
                yield data[max(0, offset - begin) :]
            begin = end

    async def remove(self, names: Sequence[str]) -> None:
        """Removes objects of files, the indexes first: what one names is there for as long as it is."""
        whole = [name for name in names if name.endswith(f"/{WHOLE}")]
        for group in (whole, [name for name in names if not name.endswith(f"/{WHOLE}")]):
            if group:
                await self.objects.remove(group)

    def names_of(self, key: str, index: Index) -> list[str]:
        """The names of a file's parts, in order."""
        return [f"{key}/{number:05d}-{part.sha256}" for number, part in enumerate(index.parts)]

    def check_sizes(self, key: str, index: Index, found: dict[str, int]) -> None:
        """Raises ObjectDamagedError where the objects that were found are not those of the index."""
        for name, part in zip(self.names_of(key, index), index.parts, strict=True):
            if name not in found:
                raise ObjectDamagedError(f"{self.objects.full_name(name)} is missing")
            if found[name] != part.size_bytes:
                text = f"{self.objects.full_name(name)} has {found[name]} bytes, {part.size_bytes} were put"
                raise ObjectDamagedError(text)

    async def _put_parts(
        self, key: str, file: Path, sealed_as: SealedAs, sha256: bytes, before: dict[str, int]
    ) -> list[Part]:
        parts: list[Part] = []
        digest, room = hashlib.sha256(), asyncio.Semaphore(self._parallel)
        reading = await in_thread(_open, file, sealed_as)
        try:
            async with _tasks() as group:
                while True:
                    await room.acquire()
                    data, part_sha256 = await in_thread(_read_part, reading, self._part_bytes, digest)
                    if not data:
                        break
                    name = f"{key}/{len(parts):05d}-{part_sha256}"
                    parts.append(Part(len(data), part_sha256))
                    group.create_task(self._put_part(name, data, before.get(name), room))
        finally:
            await in_thread(reading.close)
        if digest.digest() != sha256:
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

    async def _part(self, name: str, part: Part) -> bytes:
        try:
            data = await self.objects.get(name, part.size_bytes)
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


def _index_bytes(index: Index) -> bytes:
    """As JSON, and in a line of its own the SHA-256 of that."""
    text = msgspec.json.encode(index)
    return text + b"\n" + hashlib.sha256(text).hexdigest().encode()


def _open(file: Path, sealed_as: SealedAs) -> ContentFile:
    """What is in it: whoever else reads the store has none of this process's keys."""
    try:
        return ContentFile(file, sealed_as)
    except (SealDamagedError, SealKeyError) as error:
        raise DataLossError(f"{file} can't be put into the store: {error}") from error


def _read_part(file: ContentFile, size_bytes: int, digest: hashlib._Hash) -> tuple[bytes, str]:
    try:
        data = file.read(size_bytes)
    except SealDamagedError as error:
        raise DataLossError(f"{file.name} can't be put into the store: {error}") from error
    digest.update(data)
    return data, _sha256(data)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
