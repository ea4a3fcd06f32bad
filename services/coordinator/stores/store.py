"""Where the coordinator keeps what must survive it: the interface, and the implementation in memory.

A store belongs to one cluster and holds one `Recorded`. The coordinator is the only one that writes while it is the
active one; the compare in `save` finds out when it is not any more.
"""

from __future__ import annotations

from typing import Final, Protocol

from services.coordinator.election.events import Recorded

#: A record above this is no election's: stores have eight bytes for an epoch, and later ones have to fit in as well.
EPOCH_MAX: Final = 2**62


class StoreError(Exception):
    """The store can't be used now: one line that names it and the mend. A `save` may or may not have happened."""


class StoreConflictError(StoreError):
    """What is stored is not what this coordinator last saw: another one writes. Nothing was changed."""


class ClusterStore(Protocol):
    """The duties of every backend; tests/conformance/test_cluster_stores.py holds each to them.

    Durability: when `save` returns, the record survives a crash of the process and of the machine.
    Atomicity: after a crash, `load` returns a whole record, the one before or the one after, never a mixture.
    Timing: both return within a second, or raise; a coordinator that can't write goes on with what it has.
    Order: calls are made one after another.
    """

    async def load(self) -> Recorded:
        """What was last saved; `Recorded()` if nothing ever was.

        Raises:
            StoreError: It can't be read, or it is another cluster's.
        """
        ...

    async def save(self, recorded: Recorded, expected: Recorded) -> None:
        """Replaces `expected` by `recorded`, if and only if `expected` is what is stored. Where both are the same it is
        written all the same: a store that can't be written says so.

        Raises:
            StoreConflictError: Something else is stored, or the epoch would go down; nothing was changed.
            StoreError: Not known whether it was replaced: `load` tells.
        """
        ...

    async def close(self) -> None:
        """Gives up what the store holds open."""
        ...


def check_epoch(recorded: Recorded, expected: Recorded) -> None:
    """Raises StoreConflictError where the epoch would go down."""
    if recorded.epoch < expected.epoch:
        raise StoreConflictError(f"the epoch can't go from {expected.epoch} down to {recorded.epoch}")
    if recorded.pusher_epoch < expected.pusher_epoch:
        raise StoreConflictError(
            f"the pushers' epoch can't go from {expected.pusher_epoch} down to {recorded.pusher_epoch}"
        )


class MemoryStore:
    """Keeps the record for as long as the object lives: for tests and simulations, with faults on demand.

    Attributes:
        fault: While set, `save` raises StoreError with this text …
        fault_after_write: … after it has written, where this is true.
    """

    def __init__(self, recorded: Recorded | None = None) -> None:
        self._recorded = recorded or Recorded()
        self.fault = ""
        self.fault_after_write = False

    async def load(self) -> Recorded:
        return self._recorded

    async def save(self, recorded: Recorded, expected: Recorded) -> None:
        check_epoch(recorded, expected)
        if self.fault and not self.fault_after_write:
            raise StoreError(self.fault)
        if self._recorded != expected:
            raise StoreConflictError(f"expected {expected}, found {self._recorded}")
        self._recorded = recorded
        if self.fault:
            raise StoreError(self.fault)

    async def close(self) -> None:
        """Nothing is held open."""
