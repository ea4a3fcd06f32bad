"""Bugs in stored snapshots: how they are put, removed, found and read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from services.shared.files.chunks import ChunkWriter
from services.shared.objects.objects import ObjectDamagedError, ObjectMissingError
from services.shared.objects.parts import WHOLE, FilesInParts, Index, Part
from services.treenode.node.search import PeersFound, SnapshotSearch
from services.treenode.snapshots.stored.objects import StoredKey, StoredSnapshots
from services.treenode.snapshots.stored.source import StoredSource
from tests.simulator.planted.planting import Planted, plant
from tests.simulator.stored import form
from tests.simulator.stored.bucket import BucketObjects

# ---- putting


async def _index_first(self: FilesInParts, key: str, file: Path, *more: Any) -> bool:
    """What is offered is put together after it is offered."""
    data = file.read_bytes()
    pieces = [data[begin : begin + self._part_bytes] for begin in range(0, len(data), self._part_bytes)]
    parts = [Part(len(piece), hashlib.sha256(piece).hexdigest()) for piece in pieces]
    index = Index(1, file.name, parts, more[2])
    text = msgspec.json.encode(index)
    await self.objects.put_new(f"{key}/{WHOLE}", text + b"\n" + hashlib.sha256(text).hexdigest().encode())
    return await _KEEP(self, key, file, *more)

    return msgspec.json.encode(index)


async def _over_what_is_there(self: BucketObjects, name: str, data: bytes) -> bool:
    """The condition is not looked at."""
    await self._ask(lambda: self._bucket.put(name, data))
    return True


_KEEP = FilesInParts.keep

# ---- removing


async def _any_order(self: FilesInParts, names: Sequence[str]) -> None:
    """Parts may go before the index that names them: whoever reads finds half."""
    await self.objects.remove(names)


async def _keeps_one(self: StoredSnapshots, log_id: str, before: tuple[int, int] | None = None) -> None:
    """Only the newest stays."""
    self._kept = 1
    await _TIDY(self, log_id, before)


async def _keeps_all(_self: StoredSnapshots, _log_id: str, **_more: Any) -> None:
    """Nothing is old."""


async def _unclaimed(self: StoredSnapshots, _half: StoredKey, sizes: Mapping[str, int], **_more: Any) -> None:
    """What looks like a half goes, whoever is at it."""
    await self._files.remove(list(sizes))


_TIDY = StoredSnapshots._tidy

# ---- starting


async def _oldest_first(self: StoredSource, log_id: str) -> list[str]:
    return (await _FIND(self, log_id))[::-1]


async def _part_as_it_comes(self: FilesInParts, name: str, part: Part) -> bytes:
    try:
        return await _PART(self, name, part)
    except ObjectDamagedError as damaged:
        try:
            return await self.objects.get(name, 1 << 20)
        except ObjectMissingError:
            raise damaged from None


def _finished_as_it_came(self: ChunkWriter, _sha256: bytes) -> bytes:
    return _FINISH(self, b"")


def _any_body(_body: bytes, _checksum: bytes) -> bool:
    return True


def _peers_alone(self: SnapshotSearch, found: PeersFound, now_s: float) -> list[Any]:
    """The place is never asked."""
    return _PEERS_FOUND(self, PeersFound(found.search, found.peers), now_s)


_FIND = StoredSource.find
_PART = FilesInParts._part
_FINISH = ChunkWriter.finish
_PEERS_FOUND = SnapshotSearch.peers_found

STORED = (
    plant("index-first", "the index is put before the parts", FilesInParts, "keep", _index_first),
    plant("condition-ignored", "a put takes the place of what is there", BucketObjects, "put_new", _over_what_is_there),
    plant("parts-removed-first", "a snapshot is removed under who reads it", FilesInParts, "remove", _any_order),
    plant("removed-too-soon", "only the newest stored snapshot stays", StoredSnapshots, "_tidy", _keeps_one),
    plant("never-removed", "all stored snapshots stay", StoredSnapshots, "_tidy", _keeps_all),
    plant("half-unclaimed", "a half is removed that somebody makes whole", StoredSnapshots, "_give_up", _unclaimed),
    plant("oldest-first", "an older snapshot is taken though a newer is good", StoredSource, "find", _oldest_first),
    Planted(
        "digests-unlooked-at",
        "no checksum is looked at: of a part, the file, the state",
        (
            (FilesInParts, "_part", _part_as_it_comes),
            (ChunkWriter, "finish", _finished_as_it_came),
            (form, "is_whole", _any_body),
        ),
    ),
    plant("place-never-asked", "what is stored is not looked for", SnapshotSearch, "peers_found", _peers_alone),
)
