"""The coordinators' Lease where it is one of Kubernetes: the API server compares the versions."""

from __future__ import annotations

from typing import Protocol

from services.coordinator.stores.lease import Object
from services.coordinator.stores.store import StoreConflictError, StoreError
from services.shared.kubernetes.api import KubernetesError

_GONE, _CONFLICT = 404, 409


class LeaseApi(Protocol):
    """What is asked of the API server; see KubernetesApi."""

    @property
    def namespace(self) -> str: ...

    async def get(self, path: str) -> Object: ...

    async def create(self, path: str, body: Object) -> Object: ...

    async def replace(self, path: str, body: Object) -> Object: ...

    async def close(self) -> None: ...


class KubernetesLease:
    """See LeaseObject."""

    setting = "coordinator.lease_name"

    def __init__(self, api: LeaseApi, name: str) -> None:
        self._api = api
        self.name = name

    async def get(self, *, anew: bool = False) -> Object | None:  # etcd's majority has it, each time
        try:
            return await self._api.get(f"{self._path()}/{self.name}")
        except KubernetesError as error:
            if error.status == _GONE:
                return None
            raise StoreError(str(error)) from error

    async def create(self, about: Object) -> Object:
        try:
            return await self._api.create(self._path(), about)
        except KubernetesError as error:
            raise self._not_written(error) from error

    async def replace(self, about: Object) -> Object:
        try:
            return await self._api.replace(f"{self._path()}/{self.name}", about)
        except KubernetesError as error:
            raise self._not_written(error) from error

    async def close(self) -> None:
        await self._api.close()

    def _not_written(self, error: KubernetesError) -> StoreError:
        if error.status in (_GONE, _CONFLICT):
            return StoreConflictError(f"Lease {self.name} was changed by another one: {error}")
        return StoreError(str(error))

    def _path(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self._api.namespace}/leases"
