"""What stands in a place that several machines see: a stored snapshot's index, as whoever can write there puts it."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import msgspec

from services.shared.objects.objects import ObjectDamagedError, ObjectMissingError
from services.treenode.snapshots.stored.objects import StoredSnapshots
from services.treenode.snapshots.stored.source import StoredSource
from tests.fuzz.target import Run, Target

_LOG = "log"
_KEY = f"000001-000000000007-{hashlib.sha256(_LOG.encode()).hexdigest()[:16]}"
_WHOLE = f"{_KEY}/whole"
_PARTS = (b"the first part, ", b"the last")


def _part_name(number: int, part: bytes) -> str:
    return f"{_KEY}/{number:05d}-{hashlib.sha256(part).hexdigest()}"


class _Place:
    """One snapshot's parts, and an index of its own for each input."""

    place = "the place"

    def __init__(self) -> None:
        self._there = {_part_name(number, part): part for number, part in enumerate(_PARTS)}

    def put_index(self, data: bytes) -> None:
        self._there[_WHOLE] = data

    def full_name(self, name: str) -> str:
        return f"{self.place}/{name}"

    async def put_new(self, name: str, data: bytes) -> bool:
        raise AssertionError(f"{name} is put by a reader")

    async def get(self, name: str, bytes_max: int) -> bytes:
        assert PurePosixPath(name).parts[:-1] == (_KEY,), f"{name} leads elsewhere"
        assert re.fullmatch(r"whole|[0-9]{5,}-[0-9a-f]{64}", PurePosixPath(name).name), f"{name} is nobody's"
        if name not in self._there:
            raise ObjectMissingError(name)
        return self._there[name][:bytes_max]

    async def sizes(self, prefix: str) -> dict[str, int]:
        return {name: len(data) for name, data in self._there.items()}

    async def remove(self, names: Sequence[str]) -> None:
        raise AssertionError(f"{names} are removed by a reader")


def _index() -> Run:
    """As who looks at it does, and who starts from it."""
    place = _Place()
    stored = StoredSnapshots(place, 16, 1, 2)
    source = StoredSource(stored, 1.0)
    loop = asyncio.new_event_loop()

    async def read(data: bytes) -> None:
        if not data:  # that somebody has given it up
            assert not await source.find(_LOG)
            assert not await stored.whole(_LOG)
            return
        (name,) = await source.find(_LOG)
        (key,) = await stored.whole(_LOG)
        found = await stored.described(key, _LOG)
        problem = await stored.problem(key, found)
        # Who starts from it goes by what is read, and by the checksum of the whole.
        manifest = await source.manifest(name)
        got = b"".join([chunk.data async for chunk in source.chunks(name, 3)])
        if problem:
            raise ObjectDamagedError(problem)
        assert len(got) == max(0, manifest.size_bytes - 3)

    def run(data: bytes) -> None:
        place.put_index(data)
        loop.run_until_complete(read(data))

    return run


def _with_checksum() -> Run:
    """The same, mutated before its checksum is made: what a writer with a fault says of itself."""
    take = _index()
    return lambda data: take(data + b"\n" + hashlib.sha256(data).hexdigest().encode())


def _text(**changed: object) -> bytes:
    """An index; `changed`: what its first part says of itself otherwise."""
    content = b"".join(_PARTS)
    parts: list[dict[str, object]] = [
        {"size_bytes": len(part), "sha256": hashlib.sha256(part).hexdigest()} for part in _PARTS
    ]
    parts[0].update(changed)
    about = {
        "log_id": _LOG,
        "import_id": 1,
        "position": 7,
        "sha256": hashlib.sha256(content).hexdigest(),
        "written_at_s": 1_790_000_000,
        "node": "n1",
    }
    return msgspec.json.encode({"form": 1, "file_name": "1-7.snapshot", "parts": parts, "about": about})


TARGETS = [
    Target(
        "stored.index",
        _index,
        (ObjectDamagedError,),
        lambda: [b"", _text() + b"\n" + hashlib.sha256(_text()).hexdigest().encode()],
    ),
    Target(
        "stored.index-with-checksum",
        _with_checksum,
        (ObjectDamagedError,),
        lambda: [_text(), _text(size_bytes=-100), _text(size_bytes=(1 << 64) - 1), _text(sha256="../../elsewhere")],
    ),
]
