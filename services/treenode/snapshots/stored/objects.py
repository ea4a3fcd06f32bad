"""The snapshots of one log in a place for objects: found by their state, described, put, and removed when old.

The key is `IMPORT-POSITION-LOG`, the last part being the begin of the SHA-256 of the log's id: two nodes that store the
same state meet under one key, where the first one's index counts. What an index says of its snapshot is `About`.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from services.shared.files.sealed.names import state_name
from services.shared.forms import Form
from services.shared.objects.objects import ObjectDamagedError, ObjectMissingError, Objects
from services.shared.objects.parts import WHOLE, FilesInParts, Index

_KEY = re.compile(r"([0-9]{6,20})-([0-9]{12,20})-([0-9a-f]{16})")

_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class About(msgspec.Struct, frozen=True):
    """What an index says of a snapshot."""

    log_id: str
    import_id: _Count
    position: _Count
    sha256: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    #: By the writer's clock, in seconds since 1970, before the year 10000; and who that was, for people.
    written_at_s: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]
    node: str

    @property
    def state(self) -> tuple[int, int]:
        """What it is a snapshot of."""
        return self.import_id, self.position


_ABOUT: Form[About] = Form(About)


class StoredSnapshot(NamedTuple):
    """One that is stored, as its index describes it."""

    about: About
    whole: Index


class StoredKey(NamedTuple):
    """The key of one, and what it says; they order by age."""

    import_id: int
    position: int
    key: str


class StoredSnapshots:
    """The snapshots of a cluster in one place.

    Args:
        objects: The place.
        part_bytes: Size of a part.
        parallel: How many are put at a time.
        kept: So many of the newest stay.
    """

    def __init__(self, objects: Objects, part_bytes: int, parallel: int, kept: int) -> None:
        self.objects, self._kept = objects, kept
        self._files = FilesInParts(objects, part_bytes, parallel)

    async def whole(self, log_id: str) -> list[StoredKey]:
        """Every snapshot of the log that was put whole, whatever became of it, newest first. Raises StoreAwayError."""
        return _whole(_by_key(await self.objects.sizes(""), log_id))

    async def described(self, stored: StoredKey, log_id: str) -> StoredSnapshot:
        """What its index says. Raises ObjectMissingError, ObjectDamagedError, StoreAwayError."""
        index = await self._files.index_of(stored.key)
        name = self.full_name(stored)
        try:
            about = _ABOUT.of(index.about)
        except msgspec.ValidationError as error:
            raise ObjectDamagedError(f"{name} is damaged: what it says of itself is odd: {error}") from error
        if (about.log_id, *about.state) != (log_id, stored.import_id, stored.position):
            raise ObjectDamagedError(f"{name} is damaged: it says that it is of another state")
        return StoredSnapshot(about, index)

    async def problem(self, stored: StoredKey, found: StoredSnapshot) -> str:
        """What is wrong with its objects, as far as names and sizes tell; empty: nothing. Raises StoreAwayError."""
        try:
            self._files.check_sizes(stored.key, found.whole, await self.objects.sizes(stored.key))
        except ObjectDamagedError as error:
            return str(error)
        return ""

    def read(self, stored: StoredKey, found: StoredSnapshot, offset: int) -> AsyncGenerator[bytes, None]:
        """Its file from an offset on. Raises as `FilesInParts.read`."""
        return self._files.read(stored.key, found.whole, offset)

    def full_name(self, stored: StoredKey) -> str:
        """What people find it by."""
        return self.objects.full_name(stored.key)

    async def put(self, label: Mapping[str, Any], path: Path, sha256: bytes) -> bool:
        """Puts a snapshot, and removes what is old by now; False: somebody had put one of that state.

        Before it begins, what others left half of an older one is removed: a node that is killed again and again while
        it puts leaves no more than one behind. One that is doing so just now fails, and goes on with a newer one.

        Raises as `FilesInParts.keep`.
        """
        about = About(
            label["log_id"],
            label["import_id"],
            label["position"],
            sha256.hex(),
            int(label.get("written_at_s") or time.time()),
            str(label.get("node", "")),
        )
        key = _key_of(about.log_id, *about.state)
        await self._tidy(about.log_id, before=about.state)
        sealed_as = state_name(path.name)  # its content is put: other nodes have other keys
        is_new = await self._files.keep(key, path, sha256, path.name, msgspec.to_builtins(about), sealed_as)
        await self._drop_spare_parts(key)
        await self._tidy(about.log_id)
        return is_new

    async def _drop_spare_parts(self, key: str) -> None:
        """Parts beside those of the index: somebody else put them, and came second."""
        try:
            index = await self._files.index_of(key)
        except ObjectMissingError:
            return
        needed = {f"{key}/{WHOLE}", *self._files.names_of(key, index)}
        spare = sorted(set(await self.objects.sizes(key)) - needed)
        if spare:
            await self.objects.remove(spare)

    async def _tidy(self, log_id: str, before: tuple[int, int] | None = None) -> None:
        """Removes what is older than the newest few that are whole; before a state is put, older halves too."""
        by_key = _by_key(await self.objects.sizes(""), log_id)
        whole = _whole(by_key)
        oldest = whole[self._kept - 1][:2] if len(whole) >= self._kept else (0, 0)
        for each in whole:
            if each[:2] < oldest:
                await self._files.remove([*by_key.pop(each)])
        for each in sorted(by_key.keys() - set(whole)):
            if each[:2] < max(oldest, before or oldest):
                await self._give_up(each, by_key[each], is_over=before is not None and each[:2] < oldest)

    async def _give_up(self, half: StoredKey, sizes: Mapping[str, int], *, is_over: bool) -> None:
        """Removes a half, once nobody can make it whole any more: whoever puts it may be about to, or has done so since
        the list was made. An empty index in its place decides that, and stays for at least as long as until the next
        snapshot is put: no call takes that long."""
        index = f"{half.key}/{WHOLE}"
        parts = [name for name in sizes if name != index]
        if not parts and is_over:
            await self.objects.remove([index])
        elif parts and (index in sizes or await self.objects.put_new(index, b"")):
            await self.objects.remove(parts)


def _by_key(sizes: Mapping[str, int], log_id: str) -> dict[StoredKey, dict[str, int]]:
    """A log's objects with their sizes, by their keys. What is none of ours, or another log's, is left alone."""
    own, found = _log_part(log_id), dict[StoredKey, dict[str, int]]()
    for name, size_bytes in sizes.items():
        key = name.partition("/")[0]
        said = _KEY.fullmatch(key)
        if said and said[3] == own:
            found.setdefault(StoredKey(int(said[1]), int(said[2]), key), {})[name] = size_bytes
    return found


def _whole(by_key: Mapping[StoredKey, Mapping[str, int]]) -> list[StoredKey]:
    """Those with an index that is not empty (`_give_up`), newest first."""
    return sorted((each for each, sizes in by_key.items() if sizes.get(f"{each.key}/{WHOLE}")), reverse=True)


def _key_of(log_id: str, import_id: int, position: int) -> str:
    return f"{import_id:06d}-{position:012d}-{_log_part(log_id)}"


def _log_part(log_id: str) -> str:
    return hashlib.sha256(log_id.encode()).hexdigest()[:16]
