"""The coordinator's store in a Lease of Kubernetes: for several coordinators, of which the holder alone saves.

The API server compares versions: a write that names another one than the stored object's is refused. So what is
compared here and what is replaced there are one state of the object, whatever happens in between.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Protocol

from services.coordinator.election.events import Recorded
from services.coordinator.stores.lease import Lease, Object, lease_object, lease_of
from services.coordinator.stores.store import StoreConflictError, StoreError, check_epoch
from services.shared.kubernetes.api import KubernetesError

#: What each call has to end in: a store that does not answer is one that can't be written.
TIMEOUT_S = 1.0
_GONE, _CONFLICT = 404, 409


class LeaseApi(Protocol):
    """What is asked of the API server; see KubernetesApi."""

    @property
    def namespace(self) -> str: ...

    async def get(self, path: str) -> Object: ...

    async def create(self, path: str, body: Object) -> Object: ...

    async def replace(self, path: str, body: Object) -> Object: ...

    async def close(self) -> None: ...


class LeaseStore:
    """See ClusterStore. Besides, one process at a time holds it, and no other one saves.

    Args:
        api: The API server.
        name: The Lease's.
        cluster: The cluster's name.
        identity: This process's own, of no other one at any time.
        lease_s: How long this process may be silent as its holder, in whole seconds.
    """

    def __init__(self, api: LeaseApi, name: str, cluster: str, identity: str, lease_s: int) -> None:
        self._api, self._name, self._cluster = api, name, cluster
        self._identity, self._lease_s = identity, lease_s
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
        await self._api.close()

    # ---- as a lease --------------------------------------------------------------------------------------------------

    async def read(self) -> Lease:
        """The lease as it is now. Raises StoreError."""
        async with self._lock:
            await self._read()
            return self._lease

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
                replace(self._lease, holder=self._identity, lease_s=float(self._lease_s), transitions=turns)
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
                await self._write(replace(self._lease, holder="", lease_s=1.0))

    # ---- one call each -----------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                about = await self._api.get(f"{self._path()}/{self._name}")
        except KubernetesError as error:
            if error.status != _GONE:
                raise StoreError(str(error)) from error
            self._object, self._lease = None, Lease(recorded=self._newest)
            return
        except TimeoutError:
            raise StoreError(f"Lease {self._name}: no answer of the API server in {TIMEOUT_S:g} s") from None
        self._take(about)

    async def _write(self, lease: Lease) -> None:
        about = lease_object(self._object, lease, name=self._name, cluster=self._cluster, wall_time_s=time.time())
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if self._object is None:
                    about = await self._api.create(self._path(), about)
                else:
                    about = await self._api.replace(f"{self._path()}/{self._name}", about)
        except KubernetesError as error:
            if error.status in (_GONE, _CONFLICT):
                raise StoreConflictError(f"Lease {self._name} was changed by another one: {error}") from error
            raise StoreError(str(error)) from error
        except TimeoutError:
            raise StoreError(f"Lease {self._name}: no answer of the API server in {TIMEOUT_S:g} s") from None
        self._take(about)

    def _take(self, about: Object) -> None:
        self._lease = lease_of(about, self._name, self._cluster)
        self._object = about
        if self._lease.recorded.epoch >= self._newest.epoch:
            self._newest = self._lease.recorded

    def _path(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self._api.namespace}/leases"
