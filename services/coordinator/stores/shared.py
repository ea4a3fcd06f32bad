"""One record for two elections, that of the primary and that of the active pusher: each has a store of its own to look
at, and neither sees, or undoes, what the other one writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from services.coordinator.election.events import Recorded
from services.coordinator.stores.store import ClusterStore, StoreConflictError

_PUSHERS = ("pusher_epoch", "pusher", "pusher_incarnation", "pusher_address", "pusher_log")


def _of_nodes(recorded: Recorded) -> Recorded:
    return replace(recorded, **{name: getattr(Recorded(), name) for name in _PUSHERS})


def _of_pushers(recorded: Recorded) -> Recorded:
    return Recorded(**{name: getattr(recorded, name) for name in _PUSHERS})


def _with_pushers(nodes: Recorded, pushers: Recorded) -> Recorded:
    return replace(nodes, **{name: getattr(pushers, name) for name in _PUSHERS})


class SharedRecord:
    """A store whose record two parts write, each its own fields of it."""

    def __init__(self, store: ClusterStore) -> None:
        self._store = store
        #: One call after another, whoever makes it.
        self._lock = asyncio.Lock()
        #: The whole record as it was last read or written; None: what is stored has to be read first.
        self._whole: Recorded | None = None
        self.nodes: ClusterStore = _Part(self, _of_nodes, lambda whole, own: _with_pushers(own, whole))
        self.pushers: ClusterStore = _Part(self, _of_pushers, _with_pushers)

    async def load(self) -> Recorded:
        """The whole record."""
        async with self._lock:
            self._whole = await self._store.load()
            return self._whole

    async def save(
        self,
        part: Callable[[Recorded], Recorded],
        merge: Callable[[Recorded, Recorded], Recorded],
        recorded: Recorded,
        expected: Recorded,
    ) -> None:
        """Replaces a part of the record; what is beside it stays as it is. Raises as `ClusterStore.save`."""
        async with self._lock:
            if self._whole is None:
                self._whole = await self._store.load()
            whole, self._whole = self._whole, None
            if part(whole) != expected:
                raise StoreConflictError(f"expected {expected}, found {part(whole)}")
            new = merge(whole, recorded)
            await self._store.save(new, whole)
            self._whole = new


class _Part:
    """See ClusterStore."""

    def __init__(
        self,
        shared: SharedRecord,
        part: Callable[[Recorded], Recorded],
        merge: Callable[[Recorded, Recorded], Recorded],
    ) -> None:
        self._shared, self._part, self._merge = shared, part, merge

    async def load(self) -> Recorded:
        return self._part(await self._shared.load())

    async def save(self, recorded: Recorded, expected: Recorded) -> None:
        await self._shared.save(self._part, self._merge, recorded, expected)

    async def close(self) -> None:
        """Whoever opened the store closes it."""
