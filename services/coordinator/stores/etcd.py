"""The coordinators' Lease where it is kept in etcd: one key, whose value is the object, and whose version is the
revision in which it was written last.
"""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from services.coordinator.stores.etcd_client import EtcdClient, EtcdError, NotKnownError
from services.coordinator.stores.lease import Object
from services.coordinator.stores.store import StoreConflictError, StoreError
from services.shared.forms import Form

_OBJECT: Form[dict[str, Any]] = Form(dict[str, Any])


class EtcdLease:
    """See LeaseObject.

    Args:
        client: The etcd cluster.
        key: Under which the object is kept.
    """

    setting = "coordinator.etcd_key"

    def __init__(self, client: EtcdClient, key: str) -> None:
        self._client = client
        self._key = key.encode()
        self.name = key

    async def get(self, *, anew: bool = False) -> Object | None:  # a majority has it, each time
        try:
            found = await self._client.get(self._key)
        except EtcdError as error:
            raise StoreError(str(error)) from error
        return None if found is None else self._object(found.value, found.mod_revision)

    async def create(self, about: Object) -> Object:
        return await self._put(about, 0)

    async def replace(self, about: Object) -> Object:
        return await self._put(about, int(about["metadata"]["resourceVersion"]))

    async def close(self) -> None:
        await self._client.close()

    async def _put(self, about: Object, expected_revision: int) -> Object:
        about = copy.deepcopy(about)
        about["metadata"].pop("resourceVersion", None)
        value = msgspec.json.encode(about)
        try:
            revision = await self._client.replace(self._key, value, expected_revision)
        except NotKnownError as error:
            raise StoreError(f"{error}; it may have been written all the same") from error
        except EtcdError as error:
            raise StoreError(str(error)) from error
        if revision == 0:
            raise StoreConflictError(f"etcd key {self.name} was changed by another one")
        return self._object(value, revision)

    def _object(self, value: bytes, revision: int) -> Object:
        try:
            about = _OBJECT.of_json(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(
                f"etcd key {self.name} can't be read: {error}; remove the key, or set another {self.setting}: "
                "the epoch goes on above what the nodes know"
            ) from error
        metadata = about.setdefault("metadata", {})
        if not isinstance(metadata, dict):
            raise StoreError(f"etcd key {self.name} holds something else: set another {self.setting}")
        metadata["resourceVersion"] = str(revision)
        return about
