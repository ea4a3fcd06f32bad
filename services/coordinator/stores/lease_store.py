"""The coordinators' store in a Lease: for several coordinators, of which the holder alone saves.

Where the Lease is kept, versions are compared: a write that names another one than the stored object's is refused. So
what is compared here and what is replaced there are one state of the object, whatever happens in between.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Protocol

from services.coordinator.election.events import Recorded
from services.coordinator.stores.lease import Lease, Object, lease_object, lease_of
from services.coordinator.stores.store import StoreConflictError, StoreError, check_epoch


class LeaseObject(Protocol):
    """One object with versions, in Kubernetes or in etcd: `metadata.resourceVersion` names the state that was read.

    Whoever cancels a write does not know whether it was done.
    """

    name: str
    #: The setting that names another one.
    setting: str

    async def get(self, *, anew: bool = False) -> Object | None:
        """The object as it is now; None where it is not there. `anew`: as it is durable, wherever else there may be an
        older one. Raises StoreError."""

    async def create(self, about: Object) -> Object:
        """Makes it; returns it with its version. Raises StoreConflictError where it is there, and StoreError."""

    async def replace(self, about: Object) -> Object:
        """Puts this in its place; returns it with its new version.

        Raises:
            StoreConflictError: It has another version than this names; nothing was changed.
            StoreError: Not known whether it was replaced.
        """

    async def close(self) -> None: ...


class LeaseStore:
    """See ClusterStore. Besides, one process at a time holds it, and no other one saves.

    Args:
        kept: Where the Lease is.
        cluster: The cluster's name.
        identity: This process's own, of no other one at any time.
        lease_s: How long this process may be silent as its holder, in whole seconds.
        timeout_s: What each call has to end in: a store that does not answer is one that can't be written.
        address: host:port at which others reach this process; empty where they find it otherwise.
    """

    def __init__(
        self, kept: LeaseObject, cluster: str, identity: str, lease_s: int, timeout_s: float, address: str = ""
    ) -> None:
        self._kept, self._cluster = kept, cluster
        self._name = kept.name
        self._identity, self._lease_s, self._timeout_s, self._address = identity, lease_s, timeout_s, address
        #: The object as it was last read or written, and what it says; None: it is not known, or not there.
        self._object: Object | None = None
        self._lease = Lease()
        #: What was recorded last, as far as this process knows: a Lease that was deleted is made again with it.
        self._newest = Recorded()
        #: One call after another.
        self._lock = asyncio.Lock()

    # ---- as a store --------------------------------------------------------------------------------------------------

    async def load(self) -> Recorded:
        async with self._lock:
            await self._read()
            return self._lease.recorded

    async def save(self, recorded: Recorded, expected: Recorded) -> None:
        check_epoch(recorded, expected)
        async with self._lock:
            if self._obstacle(expected):
                await self._read()  # an earlier write of this process may have come late, or somebody wrote beside it
            if obstacle := self._obstacle(expected):
                raise StoreConflictError(obstacle)
            try:
                await self._write(replace(self._lease, recorded=recorded))
            except StoreConflictError:
                await self._read()
                if obstacle := self._obstacle(expected):
                    raise StoreConflictError(obstacle) from None
                await self._write(replace(self._lease, recorded=recorded))

    def _obstacle(self, expected: Recorded) -> str:
        """Why nothing may be saved over what was read last; empty where nothing is in the way."""
        if self._lease.holder != self._identity:
            return f"{self._lease.holder or 'nobody'} is the active coordinator, not this one"
        return "" if self._lease.recorded == expected else f"Lease {self._name} has another record than was expected"

    async def close(self) -> None:
        await self._kept.close()

    # ---- as a lease --------------------------------------------------------------------------------------------------

    async def read(self) -> Lease:
        """The lease as it is now. Raises StoreError."""
        async with self._lock:
            await self._read()
            return self._lease

    async def read_anew(self) -> Recorded:
        """What is recorded, durably, at some time after this was asked. Raises StoreError."""
        async with self._lock:
            await self._read(anew=True)
            return self._lease.recorded

    async def make(self, holder: str) -> Lease:
        """Makes the lease, which is not there, as that one's. Raises StoreConflictError where it is, and StoreError."""
        async with self._lock:
            self._object = None
            await self._write(Lease(holder=holder, lease_s=float(self._lease_s), recorded=self._newest))
            return self._lease

    async def acquire(self, version: str) -> str:
        """Takes the lease that has this version ("": makes it); returns its version then.

        Raises:
            StoreConflictError: It has another version by now; nothing was changed.
            StoreError: Not known whether it was taken.
        """
        async with self._lock:
            if self._lease.version != version:
                raise StoreConflictError(f"Lease {self._name} has changed")
            turns = self._lease.transitions + (self._lease.holder not in ("", self._identity))
            await self._write(
                replace(
                    self._lease,
                    holder=self._identity,
                    address=self._address,
                    lease_s=float(self._lease_s),
                    transitions=turns,
                )
            )
            return self._lease.version

    async def renew(self) -> str:
        """Writes the lease anew, as its holder; returns its version. Raises StoreConflictError, StoreError."""
        async with self._lock:
            if self._lease.holder != self._identity:
                raise StoreConflictError(f"{self._lease.holder or 'nobody'} has Lease {self._name}")
            await self._write(replace(self._lease, lease_s=float(self._lease_s)))
            return self._lease.version

    async def give_up(self) -> None:
        """Lets the next one take it at once, where it is this process's. Raises StoreError."""
        async with self._lock:
            if self._lease.holder == self._identity:
                await self._write(replace(self._lease, holder="", address="", lease_s=1.0))

    # ---- one call each -----------------------------------------------------------------------------------------------

    async def _read(self, *, anew: bool = False) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                about = await self._kept.get(anew=anew)
        except TimeoutError:
            raise StoreError(f"Lease {self._name}: no answer in {self._timeout_s:.2g} s") from None
        if about is None:
            self._object, self._lease = None, Lease(recorded=self._newest)
        else:
            self._take(about)

    async def _write(self, lease: Lease) -> None:
        about = lease_object(self._object, lease, name=self._name, cluster=self._cluster, wall_time_s=time.time())
        try:
            async with asyncio.timeout(self._timeout_s):
                about = await (self._kept.create(about) if self._object is None else self._kept.replace(about))
        except TimeoutError:
            raise StoreError(f"Lease {self._name}: no answer in {self._timeout_s:.2g} s") from None
        self._take(about)

    def _take(self, about: Object) -> None:
        self._lease = lease_of(about, self._name, self._cluster, self._kept.setting)
        self._object = about
        if self._lease.recorded.epoch >= self._newest.epoch:
            self._newest = self._lease.recorded
