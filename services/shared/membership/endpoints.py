"""A cluster's nodes as the EndpointSlices of a headless Service tell them, without any I/O.

The rules
---------
1. A node is known by its pod's name: `<pod>.<service>`. The pod may come back with another address; the name stays.
2. Every endpoint is a node, ready or not: that the pod is there is what its Service knows best (its slices have those
   that are not ready too), and how the node is, it says itself.
3. A pod that is away is a member for `linger_s` yet: it is being restarted, or goes to another machine. One that was
   scaled away leaves then.
4. No endpoint at all is never taken for no nodes: a Service that was deleted, or whose selector is wrong, empties no
   cluster. The members stay until one is listed again.
5. Members stand in the order of their ordinals, so that all who ask have the same order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import msgspec

from services.shared.cores import Tick
from services.shared.domain.addresses import HOSTS_MAX, Host, is_host
from services.shared.domain.sentences import quoted
from services.shared.forms import Form

#: The ports of the headless Service, by name.
REPORT_PORT, INSTANT_PORT = "report", "instant"
_ORDINAL = re.compile(r"(.*)-([0-9]{1,9})")
_PortNumber = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class SliceError(Exception):
    """An EndpointSlice that nodes can't be read from: one line that names it and the mend."""


class _Port(msgspec.Struct):
    name: str | None = None
    port: _PortNumber | None = None


class _Target(msgspec.Struct):
    kind: str = ""
    name: str = ""


class _Endpoint(msgspec.Struct, rename={"target": "targetRef"}):
    hostname: str | None = None
    target: _Target | None = None

    @property
    def pod(self) -> str:
        """The pod's name; empty where there is no pod behind it."""
        pod = self.target.name if self.target is not None and self.target.kind == "Pod" else ""
        return self.hostname or pod


class _Metadata(msgspec.Struct):
    name: str


class _Slice(msgspec.Struct):
    """What is read of an EndpointSlice; the API server has null for an empty list."""

    metadata: _Metadata
    endpoints: list[_Endpoint] | None = None
    ports: list[_Port] | None = None


_SLICE: Form[_Slice] = Form(_Slice)


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the Service's endpoints."""

    name: str
    hosts: tuple[Host, ...] = ()


def slice_of(about: object, service: str) -> Slice:
    """Reads an EndpointSlice of that Service. Raises SliceError."""
    try:
        found = _SLICE.of(about)
    except msgspec.ValidationError as error:
        raise SliceError(f"an EndpointSlice of Service {service} can't be read: {error}") from error
    if not found.endpoints:
        return Slice(found.metadata.name)
    ports = {port.name: port.port for port in found.ports or ()}
    report, instant = ports.get(REPORT_PORT), ports.get(INSTANT_PORT)
    if report is None or instant is None:
        raise SliceError(f"Service {service} must have ports named {REPORT_PORT} and {INSTANT_PORT}: add them")
    hosts = []
    for endpoint in found.endpoints:
        name = f"{endpoint.pod}.{service}"
        if not endpoint.pod or not is_host(name):
            raise SliceError(
                f"Service {service} has an endpoint that is no pod of a StatefulSet ({quoted(endpoint.pod)}): "
                "let its selector match the nodes' pods alone"
            )
        hosts.append(Host(name, report, instant))
    return Slice(found.metadata.name, tuple(hosts))


@dataclass(frozen=True, slots=True)
class SlicesListed:
    """These are all slices that there are."""

    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class SliceChanged:
    """A slice is there, or is otherwise."""

    slice: Slice


@dataclass(frozen=True, slots=True)
class SliceGone:
    """A slice is there no more; its endpoints may stand in another one."""

    name: str


EndpointEvent = SlicesListed | SliceChanged | SliceGone | Tick


@dataclass(frozen=True, slots=True)
class Members:
    """The nodes from now on."""

    hosts: tuple[Host, ...]


class ServiceMembers:
    """The core: what the API server tells in, the members at each change out."""

    def __init__(self, linger_s: float) -> None:
        self._linger_s = linger_s
        self._slices: dict[str, Slice] = {}
        #: Every member by its host name, in order.
        self._members: dict[str, Host] = {}
        #: When a member that is not listed leaves.
        self._leaves_at: dict[str, float] = {}

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The members now."""
        return tuple(self._members.values())

    @property
    def deadline_s(self) -> float | None:
        """When the next one leaves."""
        return min(self._leaves_at.values(), default=None)

    def handle(self, event: EndpointEvent, now_s: float) -> list[Members]:
        """Takes an event in; the members, where they have changed."""
        match event:
            case SlicesListed():
                self._slices = {each.name: each for each in event.slices}
            case SliceChanged():
                self._slices[event.slice.name] = event.slice
            case SliceGone():
                self._slices.pop(event.name, None)
            case Tick():
                pass
        before = self.hosts
        self._settle({host.host: host for each in self._slices.values() for host in each.hosts}, now_s)
        return [Members(self.hosts)] if self.hosts != before else []

    def _settle(self, listed: dict[str, Host], now_s: float) -> None:
        if not listed:  # rule 4
            self._leaves_at.clear()
            return
        for name in self._members.keys() - listed.keys():
            self._leaves_at.setdefault(name, now_s + self._linger_s)
        self._leaves_at = {
            name: leaves_at for name, leaves_at in self._leaves_at.items() if name not in listed and leaves_at > now_s
        }
        stay = {name: host for name, host in self._members.items() if name in self._leaves_at}
        self._members = {host.host: host for host in in_order((stay | listed).values())[:HOSTS_MAX]}

    def validate(self) -> None:
        """Raises AssertionError on a broken invariant."""
        if strangers := self._leaves_at.keys() - self._members.keys():
            raise AssertionError(f"no members, and they leave: {strangers}")
        if list(self.hosts) != in_order(self.hosts):
            raise AssertionError(f"out of order: {self.hosts}")


def in_order(hosts: Iterable[Host]) -> list[Host]:
    """By the pods' ordinals (rule 5): ten comes after nine."""

    def rank(host: Host) -> tuple[str, int, str]:
        pod = host.host.partition(".")[0]
        numbered = _ORDINAL.fullmatch(pod)
        return (numbered[1], int(numbered[2]), pod) if numbered else (pod, -1, pod)

    return sorted(hosts, key=rank)
