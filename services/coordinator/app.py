"""The coordinator as a process: store, core, gRPC, HTTP, host file; drains on SIGTERM."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.coordinator.election.election import ElectionCore
from services.coordinator.election.events import HostsChanged
from services.coordinator.election.runner import CoreRunner
from services.coordinator.election.vouching import VouchedElection
from services.coordinator.leadership.leadership import Leadership
from services.coordinator.leadership.runner import LeadershipRunner
from services.coordinator.leadership.standby import Standby
from services.coordinator.metrics import coordinator_metrics
from services.coordinator.pushers.election import PusherElection
from services.coordinator.pushers.runner import PusherElectionRunner
from services.coordinator.pushers.service import PusherCalls
from services.coordinator.role_labels.runner import RoleLabels, label_standby
from services.coordinator.service import CoordinatorServicer
from services.coordinator.settings import CoordinatorSettings
from services.coordinator.stores.etcd import EtcdLease
from services.coordinator.stores.etcd_client import EtcdClient
from services.coordinator.stores.kubernetes import KubernetesLease
from services.coordinator.stores.lease import Lease
from services.coordinator.stores.lease_store import LeaseObject, LeaseStore
from services.coordinator.stores.shared import SharedRecord
from services.coordinator.stores.sqlite import SqliteStore
from services.coordinator.stores.store import ClusterStore, StoreError
from services.coordinator.stores.term import TermStore
from services.shared.clock import Clock, MonotonicClock
from services.shared.config.load import load_settings
from services.shared.config.sections import ClusterSettings
from services.shared.debug.own_pages import own_pages
from services.shared.domain.addresses import Host, address_of
from services.shared.files.state_folder import lock_folder
from services.shared.kubernetes.api import own_api
from services.shared.membership.source import HostSources
from services.shared.security.audit.log import begin_audit
from services.shared.security.audit.settings import AuditSettings
from services.shared.serving.background import Background
from services.shared.serving.ops_port import OpsPort, Verdict
from services.shared.serving.process import StartupError, run
from services.shared.serving.server import GrpcServer

logger = logging.getLogger(__name__)

#: A heartbeat has a few hundred bytes.
_REQUEST_BYTES_MAX = 64 << 10
#: What a call to Kubernetes about a label has to end in, in seconds.
_LABELS_TIMEOUT_S = 5.0
#: A little less than the store waits: what went wrong at which endpoint is the better story.
_ETCD_TIMEOUT_SHARE = 0.95


class Coordinator:
    """A running coordinator. `start` makes one."""

    def __init__(
        self,
        cluster: ClusterSettings,
        settings: CoordinatorSettings,
        store: ClusterStore,
        record: SharedRecord,
        cores: tuple[ElectionCore, PusherElection],
        clock: Clock,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self.settings = settings
        self.store = store
        self.background = Background()
        core, pushers = cores
        self.runner = CoreRunner(core, record.nodes, clock, self.background, may_act)
        self.pushers = PusherElectionRunner(
            pushers, record.pushers, clock, self.background, may_act, self.runner.notify, core.leases.held_log
        )
        self.servicer = CoordinatorServicer(self.runner, self.pushers, cluster.name, settings)
        self.server = GrpcServer(
            address_of(settings.listen_host, settings.port),
            services=[(coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server, self.servicer)],
            service_names=[coordinator_pb2.DESCRIPTOR.services_by_name["CoordinatorService"].full_name],
            settings=settings.serving,
            setting="coordinator.port",
            message_bytes_max=_REQUEST_BYTES_MAX,
        )
        self.metrics = coordinator_metrics(self.runner, self.servicer)
        self.metrics.calls([self.server.calls])
        self.metrics.connections([self.server.connections])
        self.metrics.callers([self.server.callers])
        self.metrics.process(settings.state_path)
        self.http = OpsPort(
            "coordinator.http_port",
            self.metrics,
            {"/readyz": self._is_ready},
            pages=list(own_pages()),
            names=(settings.listen_host, *cluster.http_hosts),
        )
        self._stopping = False

    @classmethod
    async def start(
        cls,
        cluster: ClusterSettings,
        settings: CoordinatorSettings,
        store: ClusterStore,
        clock: Clock | None = None,
        may_act: Callable[[], bool] = lambda: True,
        election: type[ElectionCore] = ElectionCore,
        hosts: HostSources | None = None,
    ) -> Coordinator:
        """Loads what is recorded, and listens. It does nothing, and gives nobody a role, where it may not act.
        `election`: as there are others that vouch for a primary, or none. `hosts`: those of a process that takes turns.

        Raises:
            StoreError: The store can't be read.
            SettingsError: The list of nodes, or a setting, can't be used.
            OSError: A port is taken.
        """
        record = SharedRecord(store)
        recorded, recorded_pushers = await record.nodes.load(), await record.pushers.load()
        clock = clock or MonotonicClock()
        source = (hosts or HostSources(cluster, settings.hosts_file_interval_s)).newest()
        order = hosts_order(source.hosts) if source is not None else ()
        core = election(settings.election, recorded, order, clock.now_s())
        pushers = PusherElection(settings.pushers, recorded_pushers, clock.now_s())
        coordinator = cls(cluster, settings, store, record, (core, pushers), clock, may_act)
        async with contextlib.AsyncExitStack() as begun:
            # On both ports, or on none.
            begun.callback(coordinator.metrics.close)
            begun.push_async_callback(coordinator.server.stop, 0.0)
            port = await coordinator.server.start()
            begun.push_async_callback(coordinator.http.stop)
            http_port = await coordinator.http.start(settings.listen_host, settings.http_port)
            begun.pop_all()
        coordinator.runner.start()
        coordinator.pushers.start()
        if source is not None:
            following = source.follow(
                lambda hosts: coordinator.runner.feed(HostsChanged(hosts_order=hosts_order(hosts)))
            )
            coordinator.background.start(following, "follows the list of nodes")
        if source is not None and cluster.nodes_service and settings.role_labels:
            api = own_api(cluster.service_account_folder, _LABELS_TIMEOUT_S)
            labels = RoleLabels(api, coordinator.runner, lambda: source.hosts, settings.own_name)
            coordinator.background.start(labels.run(), "keeps the pods' role labels")
        await coordinator.server.set_active(True)
        logger.info(
            "cluster %s, epoch %d, recorded primary %s%s: listens on %s:%d, HTTP %d",
            cluster.name,
            recorded.epoch,
            recorded.primary or "none",
            ", paused" if recorded.paused else "",
            settings.listen_host,
            port,
            http_port,
        )
        return coordinator

    async def stop(self) -> None:
        """Drains: not ready, every stream ended with UNAVAILABLE, what is being written finished."""
        self._stopping = True
        await self.server.set_active(False)
        self.servicer.stop()
        await self.runner.close()
        await self.pushers.close()
        await self.server.stop(self.settings.drain_grace_s)
        await self.background.stop()
        await self.http.stop()
        self.metrics.close()
        await self.store.close()

    def looked(self, lease: Lease, unchanged_s: float) -> None:
        """Who acts knows what is recorded."""

    def _is_ready(self) -> Verdict:
        problem = "ending" if self._stopping else self.runner.core.ledger.problem
        return Verdict(not problem, f"not ready: {problem}" if problem else "ready")


def hosts_order(hosts: Sequence[Host]) -> tuple[str, ...]:
    """Report addresses in the list's order."""
    return tuple(host.report_address for host in hosts)


async def start_one_of_several(cluster: ClusterSettings, settings: CoordinatorSettings) -> LeadershipRunner:
    """A coordinator that stands by until the lease is its own. Raises SettingsError, StartupError, OSError."""
    identity = f"{settings.own_name}_{secrets.token_hex(8)}"
    clock = MonotonicClock()
    core = Leadership(settings.leadership, identity, clock.now_s())
    try:
        kept, address = _kept_lease(cluster, settings)
    except StoreError as error:
        raise StartupError(str(error)) from error
    turns, hosts = settings.leadership, HostSources(cluster, settings.hosts_file_interval_s)
    store = LeaseStore(kept, cluster.name, identity, turns.active_lease_s, turns.call_timeout_s, address)

    async def act(may_act: Callable[[], bool]) -> Coordinator:
        term = TermStore(store, may_act)
        return await Coordinator.start(cluster, settings, term, clock, may_act, VouchedElection, hosts)

    def calls(pushers: PusherElectionRunner) -> PusherCalls:
        return PusherCalls(pushers, cluster.name, settings.nodes_max)

    async def stand_by() -> Standby:
        standby = await Standby(cluster, settings, core, store, clock, calls).start()
        standby.background.start(hosts.follow(), "keeps the list of nodes")
        if cluster.nodes_service and settings.role_labels:
            labelling = label_standby(own_api(cluster.service_account_folder, _LABELS_TIMEOUT_S), settings.own_name)
            standby.background.start(labelling, "labels its pod")
        return standby

    runner = LeadershipRunner(core, store, clock, act, stand_by)
    await runner.start()
    return runner


def _kept_lease(cluster: ClusterSettings, settings: CoordinatorSettings) -> tuple[LeaseObject, str]:
    """Where the lease is kept, and what it says of where this coordinator is. Raises SettingsError, StoreError."""
    timeout_s = settings.leadership.call_timeout_s
    if settings.store == "postgresql":
        try:
            from services.coordinator.stores.postgresql import PostgresqlLease
        except ImportError as error:
            raise StoreError(
                f"the record in PostgreSQL needs {error.name}, which is not installed: "
                "pip install ha-fasttree[postgres]"
            ) from error
        return PostgresqlLease(settings.postgresql, cluster.name, timeout_s), settings.told_address
    if settings.store == "etcd":
        key = settings.etcd.etcd_key or f"/fasttree/{cluster.name}/coordinator"
        return EtcdLease(EtcdClient(settings.etcd, _ETCD_TIMEOUT_SHARE * timeout_s), key), settings.told_address
    api = own_api(cluster.service_account_folder, timeout_s)
    return KubernetesLease(api, settings.lease_name), settings.told_address


def start(config: Path | None, overrides: dict[str, str]) -> None:
    """Runs the service until SIGTERM or SIGINT.

    Raises:
        SettingsError, StartupError, OSError: It can't start; one line.
    """
    cluster = load_settings(ClusterSettings, "cluster", config, overrides)
    settings = load_settings(CoordinatorSettings, "coordinator", config, overrides)
    audit = load_settings(AuditSettings, "audit", config, overrides)
    if settings.store != "sqlite":
        begin_audit(audit, "coordinator", settings.state_path)
        run(lambda: start_one_of_several(cluster, settings))
        return
    folder = settings.state_path

    async def serve() -> Coordinator:
        try:
            store = SqliteStore(folder / "coordinator.sqlite", cluster.name)
            return await Coordinator.start(cluster, settings, store)
        except StoreError as error:
            raise StartupError(str(error)) from error

    with lock_folder(folder):
        begin_audit(audit, "coordinator", folder)
        run(serve)
