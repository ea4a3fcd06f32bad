"""A place for stored snapshots that is full at any object of one: what was there stays, and no half is offered."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.shared.objects.objects import Objects
from services.shared.serving.errors import ResourceExhaustedError
from tests.treenode.snapshots.stored.test_stored_snapshots import LOG, label, objects_of, positions, put, stored_in


class _Full:
    """Objects in a place that has room for so many more."""

    def __init__(self, objects: Objects, room: int) -> None:
        self.place, self.full_name = objects.place, objects.full_name
        self.sizes, self.get, self.remove = objects.sizes, objects.get, objects.remove
        self._objects, self._room = objects, room

    async def put_new(self, name: str, data: bytes) -> bool:
        self._room -= 1
        if self._room < 0:
            raise ResourceExhaustedError(f"{self.place} is full: No space left on device; make room there")
        return await self._objects.put_new(name, data)


async def test_a_full_place_keeps_what_it_has_and_takes_the_next_once_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    objects = objects_of({"snapshot_folder": str(tmp_path / "mount")})
    stored = stored_in(objects)
    assert await put(stored, tmp_path, label(1))
    objects_each = len(await objects.sizes((await stored.whole(LOG))[0].key))
    assert objects_each > 3
    for room in range(objects_each):
        with pytest.raises(ResourceExhaustedError, match="make room there"):
            await put(stored_in(_Full(objects, room)), tmp_path, label(2 + room))
        (key,) = await stored.whole(LOG)
        found = await stored.described(key, LOG)
        assert (key.position, await stored.problem(key, found)) == (1, "")
    last = 2 + objects_each
    assert await put(stored, tmp_path, label(last))
    assert await positions(stored) == [last, 1]
    # Nothing is left of the halves but marks that nobody may make them whole any more.
    left = {name for name, size_bytes in (await objects.sizes("")).items() if size_bytes}
    assert len(left) == 2 * objects_each
