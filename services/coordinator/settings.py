"""`[coordinator]`: what the coordinator is set by."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from msgspec import Meta, field

from services.coordinator.election.settings import ElectionSettings
from services.coordinator.leadership.settings import LeadershipSettings
from services.coordinator.pushers.settings import PusherElectionSettings
from services.coordinator.stores.etcd_settings import EtcdSettings
from services.coordinator.stores.postgresql_settings import PostgresqlSettings
from services.shared.config.bounds import (
    Flag,
    Host,
    KubernetesName,
    OptionalAddress,
    OptionalNodeName,
    OwnFolder,
    Port,
    Seconds,
    SecondsFrom0,
)
from services.shared.config.sections import Problem, Settings
from services.shared.domain.addresses import EVERY_ADDRESS, address_of
from services.shared.serving.settings import ServingSettings

#: Stores of several coordinators that nothing stands in front of.
FOUND_BY_ADDRESS = ("etcd", "postgresql")


class CoordinatorSettings(Settings, frozen=True, kw_only=True):
    """The coordinator of one cluster."""

    #: The coordinator's name, of several, and in Kubernetes its pod's; empty: the machine's host name.
    name: OptionalNodeName = ""
    #: Address to listen on, on both ports; "0.0.0.0" or "::" for every one of the machine.
    listen_host: Host = "127.0.0.1"
    #: Port of CoordinatorService (gRPC); 0 takes a free one.
    port: Port = 50400
    #: Port of health and metrics (HTTP); 0 takes a free one.
    http_port: Port = 50410
    #: Folder of what must survive: the epoch, the primary, the pause. One process has it at a time.
    state_folder: OwnFolder = "state/coordinator"

    #: host:port at which the others, and whoever they send here, reach this coordinator, where there are several
    #: without a Service in front of them; empty: listen_host and port.
    advertise: OptionalAddress = ""

    #: Where that is kept: a file in the state folder, for one coordinator (sqlite), or, for several of which one is
    #: active, a Lease of the Kubernetes cluster that this is a pod of (kubernetes), a key in an etcd cluster (etcd) or
    #: a row in a PostgreSQL server (postgresql).
    store: Annotated[
        str,
        Meta(
            pattern=r"\A(?:sqlite|kubernetes|etcd|postgresql)\Z", description="sqlite, kubernetes, etcd or postgresql"
        ),
    ] = "sqlite"
    #: The Lease's name, where the store is kubernetes.
    lease_name: KubernetesName = "fasttree-coordinator"
    etcd: EtcdSettings = field(default_factory=EtcdSettings)
    postgresql: PostgresqlSettings = field(default_factory=PostgresqlSettings)
    leadership: LeadershipSettings = field(default_factory=LeadershipSettings)

    election: ElectionSettings = field(default_factory=ElectionSettings)
    pushers: PusherElectionSettings = field(default_factory=PusherElectionSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)

    #: Whoever watches the cluster hears of it at least this often, in seconds.
    watch_interval_s: Seconds = 1.0
    #: Nodes that are known at a time; one more is refused (RESOURCE_EXHAUSTED).
    nodes_max: Annotated[int, Meta(ge=1, le=1_000)] = 64
    #: Calls of WatchCluster at a time; one more is refused (RESOURCE_EXHAUSTED).
    watchers_max: Annotated[int, Meta(ge=1, le=10_000)] = 64
    #: How often the host file is looked at for changes, in seconds.
    hosts_file_interval_s: Seconds = 1.0
    #: In Kubernetes (where `cluster.nodes_service` is set), whether the pods' label `fasttree.io/role` is kept true:
    #: primary or passive of a node, active or standby of a coordinator. Services select by it.
    role_labels: Flag = True
    #: How long calls may take to finish when the coordinator is asked to end, in seconds.
    drain_grace_s: SecondsFrom0 = 2.0

    @property
    def own_name(self) -> str:
        """The name, filled in."""
        return self.name or socket.gethostname()

    @property
    def own_address(self) -> str:
        """host:port at which others reach it."""
        return self.advertise or address_of(self.listen_host, self.port)

    @property
    def told_address(self) -> str:
        """host:port that everybody is sent to; empty where a Service leads to the active one, or there is one alone."""
        return self.own_address if self.store in FOUND_BY_ADDRESS else self.advertise

    @property
    def state_path(self) -> Path:
        """The state folder, whatever the working folder becomes."""
        return Path(self.state_folder).absolute()

    def problems(self) -> Iterator[Problem]:
        """Ports that collide, and a store that nobody named."""
        if self.http_port == self.port != 0:
            yield Problem("http_port", f"must differ from port, which is {self.port}")
        if self.store == "etcd" and not self.etcd.etcd_endpoints:
            yield Problem("etcd_endpoints", "must name at least one host:port where store is etcd")
        if self.store == "postgresql" and not self.postgresql.postgresql_url:
            yield Problem("postgresql_url", "must name a server where store is postgresql")
        is_found = self.advertise or (self.port and self.listen_host not in EVERY_ADDRESS)
        if self.store in FOUND_BY_ADDRESS and not is_found:
            why = f"store is {self.store} and listen_host is no address of its own"
            yield Problem("advertise", f"must be set where {why}")
