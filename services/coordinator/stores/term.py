"""A store of which the coordinator has the use for one turn: while it is the active one, and no longer."""

from __future__ import annotations

from collections.abc import Callable

from services.coordinator.election.events import Recorded
from services.coordinator.stores.store import ClusterStore, StoreConflictError


class TermStore:
    """See ClusterStore. The store itself stays open.

    Args:
        store: Whose use it is.
        may_act: Whether the turn goes on.
    """

    def __init__(self, store: ClusterStore, may_act: Callable[[], bool]) -> None:
        self._store = store
        self._may_act = may_act

    async def load(self) -> Recorded:
        return await self._store.load()

    async def save(self, recorded: Recorded, expected: Recorded) -> None:
        if not self._may_act():
            raise StoreConflictError("this coordinator is not the active one any more")
        await self._store.save(recorded, expected)

    async def close(self) -> None:
        """The next turn needs it."""
