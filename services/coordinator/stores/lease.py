"""The coordinators' Lease as an object of Kubernetes, which etcd may hold as well: who is active, and in an annotation,
what was recorded.
"""

from __future__ import annotations

import copy
import datetime
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

import msgspec

from services.coordinator.election.events import Recorded
from services.coordinator.stores.store import EPOCH_MAX, StoreError
from services.shared.domain.addresses import address_problem
from services.shared.domain.sentences import quoted
from services.shared.forms import Form

ANNOTATION = "fasttree.io/coordinator"
#: Of the holder: host:port at which others reach it.
ADDRESS_ANNOTATION = "fasttree.io/coordinator-address"

#: An object as the API server has it.
Object = dict[str, Any]


class _Record(msgspec.Struct, kw_only=True):
    cluster: str
    epoch: Annotated[int, msgspec.Meta(ge=0, le=EPOCH_MAX)]
    primary: str
    primary_incarnation: str
    paused: bool
    contested: bool = False
    vouch_ms: Annotated[int, msgspec.Meta(ge=0, le=3_600_000)] = 0
    pusher_epoch: Annotated[int, msgspec.Meta(ge=0, le=EPOCH_MAX)] = 0
    pusher: str = ""
    pusher_incarnation: str = ""
    pusher_address: str = ""
    pusher_log: str = ""


class _Metadata(msgspec.Struct):
    resourceVersion: Annotated[str, msgspec.Meta(min_length=1)]  # noqa: N815 - Kubernetes' own name
    annotations: dict[str, str] | None = None


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    lease_transitions: int | None = None


class _Lease(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec | None = None


#: The fields of a record: both have them under the same names.
_RECORDED = tuple(each.name for each in fields(Recorded))

_LEASE: Form[_Lease] = Form(_Lease)
_RECORD: Form[_Record] = Form(_Record)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What is read of it."""

    #: Of this state of the object; empty: it is not there.
    version: str = ""
    holder: str = ""
    #: host:port at which others reach the holder; empty where it says none.
    address: str = ""
    lease_s: float = 0.0
    transitions: int = 0
    recorded: Recorded = field(default_factory=Recorded)


def lease_of(about: Object, name: str, cluster: str, setting: str) -> Lease:
    """Reads the object; `setting` names another one. Raises StoreError where it can't be, or is another cluster's."""
    try:
        found = _LEASE.of(about)
    except msgspec.ValidationError as error:
        raise StoreError(f"Lease {name} can't be read: {error}") from error
    spec = found.spec or _Spec()
    annotations = found.metadata.annotations or {}
    text, address = annotations.get(ANNOTATION), annotations.get(ADDRESS_ANNOTATION, "")
    return Lease(
        version=found.metadata.resourceVersion,
        holder=spec.holder_identity or "",
        address="" if address_problem(address) else address,
        lease_s=float(max(0, min(spec.lease_duration_seconds or 0, 3_600))),
        transitions=max(0, spec.lease_transitions or 0),
        recorded=Recorded() if text is None else _recorded_of(text, name, cluster, setting),
    )


def _recorded_of(text: str, name: str, cluster: str, setting: str) -> Recorded:
    try:
        record = _RECORD.of_json(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Safe, as a lost file is: nodes tell the highest epoch that they have heard of, and elections go on above it.
        raise StoreError(
            f"Lease {name}: its annotation {ANNOTATION} can't be read: {error}; remove the annotation: "
            "the epoch goes on above what the nodes know"
        ) from error
    if record.cluster != cluster:
        raise StoreError(
            f"Lease {name} belongs to cluster {quoted(record.cluster)}, not {cluster}: set another {setting}"
        )
    return Recorded(**{name: getattr(record, name) for name in _RECORDED})


def lease_object(before: Object | None, lease: Lease, *, name: str, cluster: str, wall_time_s: float) -> Object:
    """The object that says so. What others put beside it in `before`, whose version it names, stays."""
    about: Object = (
        copy.deepcopy(before) if before is not None else {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    )
    record = _Record(cluster=cluster, **{name: getattr(lease.recorded, name) for name in _RECORDED})
    metadata = about.setdefault("metadata", {})
    metadata["name"] = name
    metadata.setdefault("labels", {"app.kubernetes.io/name": "fasttree", "app.kubernetes.io/component": "coordinator"})
    metadata["annotations"] = {
        **(metadata.get("annotations") or {}),
        ANNOTATION: msgspec.json.encode(record).decode(),
    }
    if lease.address:
        metadata["annotations"][ADDRESS_ANNOTATION] = lease.address
    else:
        metadata["annotations"].pop(ADDRESS_ANNOTATION, None)
    spec = dict(about.get("spec") or {})
    # For people who look, and other programs; nobody decides by this clock.
    now = datetime.datetime.fromtimestamp(wall_time_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if lease.holder and lease.holder != spec.get("holderIdentity"):
        spec["acquireTime"] = now
    spec |= {
        "holderIdentity": lease.holder or None,
        "leaseDurationSeconds": max(1, int(lease.lease_s)),
        "leaseTransitions": lease.transitions,
        "renewTime": now,
    }
    about["spec"] = {key: value for key, value in spec.items() if value is not None}
    return about
