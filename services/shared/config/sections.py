"""Sections of the settings: what they consist of, and the one that every part of a cluster reads.

A section is a flat table in the file. In the program it may have parts, one for each room, so that a core gets its own
settings and nothing else: the fields of a part are the section's.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple, Self, TypeVar

import msgspec

from services.shared.config.bounds import (
    CountFrom0,
    Flag,
    Folder,
    Host,
    Name,
    OptionalAddresses,
    OptionalPath,
    OptionalService,
    Percent,
    Period,
    SecondsFrom0,
    Status,
    VolumeType,
)
from services.shared.domain.limits import CUSTOMER_STATUSES_MAX, PERIODS_MAX, SLOTS_MAX, VOLUME_TYPES_MAX
from services.shared.domain.thresholds import FIRST_THRESHOLDS, ImportThresholds

SECTIONS = (
    "cluster",
    "coordinator",
    "pusher",
    "treenode",
    "imports",
    "datatrax",
    "console",
    "tls",
    "tokens",
    "audit",
    "sealing",
    "telemetry",
)


class Problem(NamedTuple):
    """A value that is good by itself, and can't be beside another one."""

    field: str
    #: What it must be, with the other one named.
    mend: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A section, or a room's part of one. Every field has a default, and a type that carries its bounds."""

    @classmethod
    def of(cls, **values: Any) -> Self:
        """The settings with these values, whatever part they belong to. Types and bounds are not looked at."""
        unknown = values.keys() - fields_of(cls).keys()
        if unknown:
            raise TypeError(f"{cls.__name__} has no field {', '.join(sorted(unknown))}")
        return _build(cls, values)

    def problems(self) -> Iterator[Problem]:
        """What can't be together, though each value is within its bounds."""
        return iter(())


AnySettings = TypeVar("AnySettings", bound=Settings)


class Field(NamedTuple):
    #: The type, with its bounds.
    kind: Any
    default: Any
    #: Where it stands in the source.
    owner: type[Settings]


@functools.cache
def fields_of(cls: type[Settings]) -> Mapping[str, Field]:
    """Every field of the section by its name, its parts' among them, in the order of the source."""
    found: dict[str, Field] = {}
    for info in _infos(cls):
        part = _part_of(info)
        fields: Mapping[str, Field] = fields_of(part) if part else {info.name: Field(info.type, _default_of(info), cls)}
        if found.keys() & fields.keys():
            raise TypeError(f"{cls.__name__}: two fields are named {', '.join(found.keys() & fields.keys())}")
        found |= fields
    return found


def value_of(settings: Settings, name: str) -> Any:
    """A field's value, whatever part it belongs to."""
    return next(getattr(part, name) for part in parts_of(settings) if name in part.__struct_fields__)


def parts_of(settings: Settings) -> Iterator[Settings]:
    """The settings themselves and each of their parts."""
    yield settings
    for info in _infos(type(settings)):
        if _part_of(info):
            yield from parts_of(getattr(settings, info.name))


def _build(cls: type[AnySettings], values: Mapping[str, Any]) -> AnySettings:
    given: dict[str, Any] = {}
    for info in _infos(cls):
        if part := _part_of(info):
            given[info.name] = _build(part, values)
        elif info.name in values:
            given[info.name] = values[info.name]
    return cls(**given)


@functools.cache
def _infos(cls: type[Settings]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Found once: resolving the types takes milliseconds, and a restart waits for it."""
    return msgspec.structs.fields(cls)


def _part_of(info: msgspec.structs.FieldInfo) -> type[Settings] | None:
    return info.type if isinstance(info.type, type) and issubclass(info.type, Settings) else None


def _default_of(info: msgspec.structs.FieldInfo) -> Any:
    return info.default_factory() if info.default is msgspec.NODEFAULT else info.default


class ClusterSettings(Settings, frozen=True, kw_only=True):
    """`[cluster]`: what every part of a cluster must agree on."""

    #: The cluster's name: one company's tree in one environment.
    name: Name = "dot-live"
    #: Volume types that a new log begins with, the default first.
    volume_types: Annotated[list[VolumeType], msgspec.Meta(min_length=1, max_length=VOLUME_TYPES_MAX)] = msgspec.field(
        default_factory=lambda: ["PV"]
    )
    #: Commission periods "YYYY-MM" that are open when a new log begins, the current one first; empty: the month of that
    #: day (UTC). Later ones are opened by `fasttree period open`.
    periods: Annotated[list[Period], msgspec.Meta(max_length=PERIODS_MAX)] = msgspec.field(default_factory=list)
    #: In a new log, an import that removes more than this share of the members is refused unless forced, in percent.
    #: Later on it is changed by `fasttree rules set`, and so are the three below.
    import_removed_percent_max: Percent = FIRST_THRESHOLDS.removed_percent_max
    #: The same for members that it moves.
    import_moved_percent_max: Percent = FIRST_THRESHOLDS.moved_percent_max
    #: The same for members whose volumes it changes; 100: never refused, since a new period changes every volume.
    import_volumes_changed_percent_max: Percent = FIRST_THRESHOLDS.volumes_changed_percent_max
    #: Trees smaller than this are replaced without these thresholds: a share of few members says nothing.
    import_threshold_members_min: CountFrom0 = FIRST_THRESHOLDS.members_min
    #: In a new log, status codes whose members count as customers in reports, whatever kind is recorded of them. Later
    #: on it is changed by `fasttree rules set --customer-statuses`.
    customer_statuses: Annotated[list[Status], msgspec.Meta(max_length=CUSTOMER_STATUSES_MAX)] = msgspec.field(
        default_factory=list
    )
    #: In a new log, whether customers have rank 0 in reports, whatever is recorded of them. Later on it is changed by
    #: `fasttree rules set --customers-rank-zero`.
    customers_are_rank_zero: Flag = False
    #: The cluster's nodes, one a line `host report-port instant-port`; empty: only those that the coordinator sees.
    hosts_file: OptionalPath = ""
    #: In Kubernetes, in place of a host file: the headless Service whose endpoints are the nodes, in this pod's own
    #: namespace. It has ports named `report` and `instant`; a node is known as `<pod>.<service>`.
    nodes_service: OptionalService = ""
    #: How long a node whose pod is away stays one of the cluster's, in seconds: longer than a restart takes.
    nodes_linger_s: SecondsFrom0 = 120.0
    #: Folder of this pod's token, certificates and namespace, as Kubernetes mounts them.
    service_account_folder: Folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    #: Host names under which the HTTP ports are asked for metrics and debug logs, beside addresses, names without a dot
    #: and each machine's own name. Any other name is refused, so that no stranger's web page can send a browser there.
    http_hosts: Annotated[list[Host], msgspec.Meta(max_length=1_000)] = msgspec.field(default_factory=list)
    #: host:port of the coordinator, or of each of several, with commas between; empty: none, so no primary is elected
    #: and the VIP serves from every ready node.
    coordinator: OptionalAddresses = ""

    @property
    def import_thresholds(self) -> ImportThresholds:
        """Those that a new log begins with."""
        return ImportThresholds(
            self.import_threshold_members_min,
            self.import_removed_percent_max,
            self.import_moved_percent_max,
            self.import_volumes_changed_percent_max,
        )

    def problems(self) -> Iterator[Problem]:
        """The header of an import file names volume types in any case."""
        if len({name.lower() for name in self.volume_types}) < len(self.volume_types):
            yield Problem("volume_types", "must differ in more than their case")
        if len(self.volume_types) * len(self.periods) > SLOTS_MAX:
            yield Problem(
                "periods", f"must be {SLOTS_MAX // len(self.volume_types)} at most with that many volume_types"
            )
        if self.nodes_service and self.hosts_file:
            yield Problem("nodes_service", "must be empty where hosts_file is set: the nodes are listed in one place")
