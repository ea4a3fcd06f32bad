"""The tree node as a process: its parts, how they start, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from types import ModuleType
from typing import IO

from fasttree.v1 import (
    coordinator_pb2,
    import_source_pb2,
    import_source_pb2_grpc,
    report_pb2,
    treenode_pb2,
    treenode_pb2_grpc,
)
from services.shared.config.bounds import Seconds
from services.shared.config.load import given_value, load_settings
from services.shared.config.sections import ClusterSettings
from services.shared.debug.debug_log import NODE_LOG, PUSH_LOG, DebugLog
from services.shared.debug.own_pages import own_pages
from services.shared.debug.pages import DebugPages
from services.shared.domain.addresses import address_of
from services.shared.files.import_source import ImportSourceServicer
from services.shared.files.sealed.own import key_to_seal
from services.shared.files.state_folder import lock_folder
from services.shared.personal.needed import check_folder
from services.shared.security.audit.log import begin_audit
from services.shared.security.audit.settings import AuditSettings
from services.shared.serving.background import Background
from services.shared.serving.ops_port import OpsPort, Verdict
from services.shared.serving.process import run, settle_memory
from services.shared.serving.server import PRIMARY, READY, GrpcServer
from services.shared.telemetry.own import own_tracer
from services.treenode.debug_logs import LogHandler, UpdateEcho
from services.treenode.heartbeat import Heartbeat
from services.treenode.imports.files import ImportFiles
from services.treenode.imports.loading import ImportLoader
from services.treenode.imports.reading import ImportLimits
from services.treenode.imports.table_reader import TableReader
from services.treenode.kernels.compiling import tell_compiling
from services.treenode.kernels.warm_up import fill_cache, warm_up_first_answers, warm_up_node
from services.treenode.metrics import (
    declare_figures,
    declare_lease_figures,
    declare_period_figures,
    declare_stored_figures,
    node_metrics,
)
from services.treenode.node.runner import NodeRunner, now_s
from services.treenode.periods.calls import ReportCalls
from services.treenode.periods.files import PeriodFiles
from services.treenode.periods.runner import PeriodKeeper
from services.treenode.personal.copy import PersonalCopy
from services.treenode.replication.applying import Applier
from services.treenode.replication.applying_mark import ApplyingMark
from services.treenode.replication.relayout import Relayout
from services.treenode.replication.stream_runner import UpdateStreams
from services.treenode.reports import ReportLimits, ReportServicer, add_report_service
from services.treenode.reports.limits import REQUEST_BYTES_MAX
from services.treenode.reports.serving import GET_MEMBER
from services.treenode.service import TreeNodeServicer
from services.treenode.settings import TreeNodeSettings, check_lease, with_names
from services.treenode.snapshots.early_read import EarlyRead
from services.treenode.snapshots.peers import Peers
from services.treenode.snapshots.recovery import Recovery
from services.treenode.snapshots.restoring import restore
from services.treenode.snapshots.saving import SnapshotWriter
from services.treenode.snapshots.store import SnapshotStore
from services.treenode.snapshots.stored.keeping import StoredKeeping
from services.treenode.snapshots.stored.opening import open_stored, source_of
from services.treenode.tracing.updates import AppliedTraces
from services.treenode.tree.kernels.kernel_cache import everything_is_cached

#: Exit code of a node that ended because its state could not be trusted any more.
EXIT_FATAL = 70
#: A node that ends waits so long for the states of closed periods that are being written, in seconds; what is not done
#: by then is made again after the next start.
PERIOD_WRITES_S_MAX = 10.0

logger = logging.getLogger(__name__)


class TreeNode:
    """One node with its three ports. `start`, then `stop`."""

    def __init__(
        self,
        settings: TreeNodeSettings,
        cluster: ClusterSettings,
        limits: ImportLimits,
        early: EarlyRead | None = None,
    ) -> None:
        """Locks the state folder and opens what is in it. `early`: what was begun to be read of it.

        Raises:
            StartupError: Another process has the state folder.
            SettingsError: What the place of stored snapshots needs is not here.
            SealKeyError: Something in it was sealed by a key that is not here.
        """
        self.settings = with_names(settings)
        self._early = early
        self.cluster = cluster
        folder = self.settings.state_path
        self._lock: IO[str] = lock_folder(folder)
        check_folder(folder)
        self.background = Background()
        self.metrics = node_metrics(self.settings.name, cluster.name)
        self.store = SnapshotStore(folder / "snapshots", kept=self.settings.snapshots_kept, cluster=cluster.name)
        self.runner = NodeRunner(
            self.settings,
            cluster,
            self.background,
            self.store.set_all_aside,
            lambda tree, period: self.periods.before_seal(tree, period),
        )
        self.writer = SnapshotWriter(self.runner, self.store)
        self.stored = open_stored(self.settings.stored, cluster.name)
        self.periods = self._period_keeper(folder / "periods")
        self.files = ImportFiles(
            folder / "imports",
            kept=self.settings.imports_kept,
            bytes_max=self.settings.import_bytes_max,
            silence_s=self.settings.download_silence_s,
        )
        self.logs = {
            name: DebugLog(folder / "logs" / name, self.settings.debug_log_bytes_max) for name in (NODE_LOG, PUSH_LOG)
        }
        self.echo = UpdateEcho(self.logs[PUSH_LOG], _lines_per_s(self.settings))
        self.mark = ApplyingMark(folder / "applying")
        self.applier = Applier(
            self.runner,
            lambda first, updates, not_applied: self.echo.applied(now_s(), first, updates, not_applied),
            self.mark,
        )
        recovery = Recovery(self.runner, self.store, lambda: self.streams.pusher_address)
        self.streams = UpdateStreams(self.runner, self.applier, recovery.before, _traces(self.settings.name))
        self.tables = TableReader(self.settings.import_process_after_s)
        self.loader = ImportLoader(self.runner, self.files, self.tables, limits, self.writer.want)
        self.relayout = Relayout(self.runner, lambda: self.streams.pusher_address)
        self.personal = self._personal_copy(folder)
        self.reports = ReportServicer(self.runner, ReportLimits.of(self.settings), reveal=self.personal.revealed)
        self.calls = ReportCalls(self.runner, self.reports, self.periods)
        declare_figures(self.metrics, self.runner, self.applier, self.writer, self.reports.room)
        declare_period_figures(self.metrics, self.periods, self.calls.opened)
        self.debug_pages = DebugPages(self.logs, self.echo.echo.follow)
        self.http = self._ops_port()
        #: Where the node is found; complete after `start`.
        self.address = coordinator_pb2.NodeAddress(name=self.settings.name)
        self.heartbeat = Heartbeat(self.runner, self.cluster.coordinator, self.address)
        declare_lease_figures(self.metrics, lambda: self.heartbeat.loop_delay_s, lambda: self.heartbeat.lease_left_s)
        #: Set once every kernel is loaded.
        self.warm = asyncio.Event()
        self._servers: list[GrpcServer] = []
        self._log_handler: LogHandler | None = None

    def _personal_copy(self, folder: Path) -> PersonalCopy:
        return PersonalCopy(
            folder,
            self.settings,
            lambda: self.streams.pusher_address,
            lambda: bool(self.runner.served.rules.personal),
        )

    def _ops_port(self) -> OpsPort:
        checks = {"/livez": self._is_live, "/readyz": self._is_ready, "/primary": self._is_primary}
        names = (self.settings.listen_host, self.settings.host, *self.cluster.http_hosts)
        return OpsPort("treenode.http_port", self.metrics, checks, [*self.debug_pages.routes(), *own_pages()], names)

    def _period_keeper(self, folder: Path) -> PeriodKeeper:
        return PeriodKeeper(
            self.runner,
            PeriodFiles(folder, aside_max=self.settings.periods_kept, cluster=self.cluster.name),
            self.store,
            self.background,
            lambda: self.address.instant,
            lambda: self.streams.pusher_address,
        )

    async def start(self) -> None:
        """Listens on the three ports, then loads the newest snapshot.

        Raises:
            OSError: A port is taken.
        """
        settings = self.settings
        self._log_handler = LogHandler(self.logs[NODE_LOG], asyncio.get_running_loop())
        logging.getLogger("services.treenode").addHandler(self._log_handler)
        await self._listen()
        self.background.start(self._announce(), "announces health")
        if self.cluster.coordinator:
            self.background.start(self.heartbeat.run(), "keeps the lease")
        tell_compiling(lambda kernel: logger.warning("compiles %s, which was not in the cache", kernel))
        # No update and no report waits for a compiler. Loading what was compiled takes milliseconds: the kernels of
        # rarer calls are loaded once the node serves.
        first = warm_up_first_answers if everything_is_cached() else _compile_and_load
        early, self._early = self._early, None
        await self.periods.load()
        await asyncio.gather(restore(self.runner, self.store, self.writer, early), asyncio.to_thread(first))
        # The pusher is answered only now: it would find an empty node else.
        self.runner.restored.set()
        source = source_of(self.stored, settings.stored) if self.stored is not None else None
        own_address, pusher_address = self.address.instant, lambda: self.streams.pusher_address
        peers = Peers(self.runner, self.store, self.writer, own_address, pusher_address, source)
        self.background.start(self.streams.run(), "tells the pusher of other trees")
        self.background.start(peers.run(), "asks peers for a snapshot")
        self.background.start(self.writer.run(), "writes snapshots")
        if self.stored is not None:
            keeping = StoredKeeping(self.runner, self.store, self.writer, self.stored, settings.stored)
            declare_stored_figures(self.metrics, keeping, self.runner)
            self.background.start(keeping.run(), "stores snapshots")
        self.background.start(self.personal.run(), "follows the vault")
        self.background.start(self.personal.tend(), "seals the copy of the vault")
        self.background.start(self.periods.run(), "keeps closed periods")
        self.background.start(self.relayout.run(), "lays the tree out anew")
        self.background.start(self.tables.run(), "keeps a reader of imports")
        self.background.start(self._warm_up_rest(), "loads the kernels of rarer calls")
        logger.info(
            "node %s of cluster %s: reports on %s, instant on %s, HTTP on %s",
            settings.name,
            self.cluster.name,
            self.address.report,
            self.address.instant,
            self.address.http,
        )

    async def _listen(self) -> None:
        """On all three ports, or on none."""
        settings = self.settings
        report = GrpcServer(
            address_of(settings.listen_host, settings.report_port),
            services=[(add_report_service, self.calls)],
            service_names=[_full_name(report_pb2, "ReportService")],
            settings=settings.serving,
            setting="treenode.report_port",
            message_bytes_max=REQUEST_BYTES_MAX,
            age_s_max=settings.report_connection_age_s_max,
            at_once={GET_MEMBER: self.reports.member_at_once},
        )
        servicer = TreeNodeServicer(
            self.runner, self.streams, self.loader, self.store, self.writer, self.periods, self.address
        )
        instant = GrpcServer(
            address_of(settings.listen_host, settings.instant_port),
            services=[
                (treenode_pb2_grpc.add_TreeNodeServiceServicer_to_server, servicer),
                (
                    import_source_pb2_grpc.add_ImportSourceServiceServicer_to_server,
                    ImportSourceServicer(self.files.find),
                ),
            ],
            service_names=[
                _full_name(treenode_pb2, "TreeNodeService"),
                _full_name(import_source_pb2, "ImportSourceService"),
            ],
            settings=settings.serving,
            setting="treenode.instant_port",
        )
        what = "How long each phase of the last import took."
        self.metrics.gauge_by("phase", "import_seconds", what, lambda: servicer.import_phases_s)
        self._servers = [report, instant]
        self.metrics.calls([server.calls for server in self._servers])
        self.metrics.connections([server.connections for server in self._servers])
        self.metrics.callers([server.callers for server in self._servers])
        self.metrics.process(settings.state_path)
        async with contextlib.AsyncExitStack() as begun:
            begun.callback(self._close)
            begun.push_async_callback(self.http.stop)
            for server in self._servers:
                begun.push_async_callback(server.stop, 0.0)
            self.address.report = address_of(settings.host, await report.start())
            self.address.instant = address_of(settings.host, await instant.start())
            http_port = await self.http.start(settings.listen_host, settings.http_port)
            self.address.http = address_of(settings.host, http_port)
            begun.pop_all()

    async def stop(self) -> None:
        """Drains: not ready, calls under way finish, streams end, a last snapshot. A node whose state can't be trusted
        leaves none."""
        settings = self.settings
        fatal = self.runner.fatal is not None
        self.runner.drain()
        if not fatal:
            # Load balancers look every 100 ms or so: until they have, calls still come and are answered.
            await asyncio.sleep(settings.drain_notice_s)
        self.streams.end("the node ends")
        self.runner.waiters.end()
        self.runner.served_waiters.end()
        await asyncio.gather(*(server.stop(0.0 if fatal else settings.drain_grace_s) for server in self._servers))
        if not fatal:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PERIOD_WRITES_S_MAX):
                    await self.periods.writes_ended()
        await self.background.stop()
        if not fatal:
            try:
                await self.writer.save()
            except OSError as error:
                logger.error("no last snapshot: %s", error)
        self.debug_pages.end()
        await self.http.stop()
        self._close()

    async def _warm_up_rest(self) -> None:
        """Loads the kernels of rarer calls, behind everything that the node does for others."""
        await asyncio.to_thread(warm_up_node)
        self.warm.set()

    def _close(self) -> None:
        self.calls.close()
        self.reports.close()
        self.personal.close()
        self.runner.close()
        self.metrics.close()
        if self._log_handler is not None:
            logging.getLogger("services.treenode").removeHandler(self._log_handler)
        for log in self.logs.values():
            log.close()
        self.mark.close()
        self._lock.close()

    def _is_live(self) -> Verdict:
        return Verdict(self.runner.fatal is None, "live")

    def _is_ready(self) -> Verdict:
        told = "; ".join(filter(None, (self.runner.trouble, self.runner.standing)))
        text = self.runner.core.state.name + (f": {told}" if told else "")
        return Verdict(self.runner.core.life.ready, text)

    def _is_primary(self) -> Verdict:
        # A process that was frozen is no primary even before it notices.
        return Verdict(self.runner.is_primary, self.runner.core.state.name)

    async def _announce(self) -> None:
        while True:
            health = await self.runner.announcements.get()
            for server in self._servers:
                await server.set_health(READY, health.ready)
                await server.set_health(PRIMARY, health.primary)


def _traces(node: str) -> AppliedTraces | None:
    """Of the updates that a node applies; None where nobody asked for any."""
    tracer = own_tracer()
    if tracer is None:
        return None
    tracer.instance = node
    return AppliedTraces(tracer, node)


def _compile_and_load() -> None:
    """Every kernel; told as it goes, since it takes a minute or so."""
    fill_cache(logger.info)
    warm_up_node()


def _full_name(module: ModuleType, service: str) -> str:
    return str(module.DESCRIPTOR.services_by_name[service].full_name)


async def _settle_once(warm: asyncio.Event) -> None:
    await warm.wait()
    settle_memory()
    logger.info("every kernel is loaded")


def _lines_per_s(settings: TreeNodeSettings) -> int:
    """Of updates in the log of them, which lies on the disk beside what may be sealed."""
    return settings.push_log_lines_per_s if key_to_seal() is None else 0


def start(config: Path | None, overrides: dict[str, str], early: EarlyRead) -> None:
    """Runs a node until SIGTERM or SIGINT. `early`: its newest snapshot, being read.

    Raises:
        SettingsError, StartupError, OSError: It can't start; one line that names the mend.
    """
    node_settings = load_settings(TreeNodeSettings, "treenode", config, overrides)
    lease_s = given_value("coordinator.lease_s", Seconds, config, overrides)
    if lease_s is not None:
        check_lease(node_settings, lease_s)
    cluster = load_settings(ClusterSettings, "cluster", config, overrides)
    limits = load_settings(ImportLimits, "imports", config, overrides)
    audit = load_settings(AuditSettings, "audit", config, overrides)

    async def serve() -> TreeNode:
        node = TreeNode(node_settings, cluster, limits, early)
        begin_audit(audit, "treenode", node.settings.state_path)
        await node.start()
        node.background.start(_settle_once(node.warm), "settles the memory")
        return node

    run(serve, fault_exit_code=EXIT_FATAL)
