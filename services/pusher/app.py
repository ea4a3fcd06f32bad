"""The pusher as a whole: which part is told what by which, and in which order they begin and end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.admission.room import RoomWatch
from services.pusher.admission.runner import AdmissionRunner
from services.pusher.comparison.runner import ComparisonRunner
from services.pusher.dispatcher import Dispatcher, Listeners
from services.pusher.fanout.events import (
    FileRules,
    LogEndChanged,
    LogReplaces,
    NodeConfirmed,
    NodeStands,
    Trimmed,
    VersionKnown,
)
from services.pusher.fanout.members import MembersChanged
from services.pusher.fanout.membership import Membership
from services.pusher.fanout.runner import FanOut, PusherIdentity
from services.pusher.import_store.kept import KeptImports
from services.pusher.import_store.opening import open_imports
from services.pusher.imports.catalog import ImportCatalog
from services.pusher.imports.events import ImportAdded
from services.pusher.imports.intake import ImportIntake, known_columns
from services.pusher.imports.retention import Retention
from services.pusher.imports.runner import LoadSource, RolloutRunner
from services.pusher.imports.since_export import SinceExport
from services.pusher.imports.uploads.folder import UploadFolder
from services.pusher.imports.uploads.folders import UploadFolders
from services.pusher.lineage.lineage import Adopted, Door
from services.pusher.lineage.runner import LineageRunner
from services.pusher.log.damage import LogCheck
from services.pusher.log.frames import Run
from services.pusher.log.group_commit import Committed, NotStored, RulesInForce
from services.pusher.log.reading import LogReading
from services.pusher.log.store import DeposedError, LogStore
from services.pusher.log.tail import LogTail
from services.pusher.log.writer import LogWriter
from services.pusher.metrics import pusher_metrics
from services.pusher.moving.watch import MovedWatch
from services.pusher.personal.opening import PusherVault
from services.pusher.personal.place import vault_asked
from services.pusher.personal.runner import PersonalValues
from services.pusher.personal.sealing import Sealing
from services.pusher.ports import Answering, PusherPorts
from services.pusher.rules.founding import founded
from services.pusher.rules.runner import Calendar, RuleRecords
from services.pusher.service import Parts, PusherServicer
from services.pusher.settings import PusherSettings
from services.pusher.skips.runner import SkipRunner
from services.pusher.tracing.imports import import_traces
from services.pusher.tracing.updates import update_traces
from services.shared.config.sections import ClusterSettings
from services.shared.domain.addresses import EVERY_ADDRESS, address_of
from services.shared.files.import_source import ImportSourceServicer
from services.shared.mapping.kept import KeptProfiles
from services.shared.membership.source import HostSources
from services.shared.serving.background import Background
from services.shared.serving.metrics import Metrics
from services.shared.serving.ops_port import Verdict

logger = logging.getLogger(__name__)


class Pusher:
    """One pusher. `start` and `stop` once each, on a running event loop.

    Raises (the constructor; it reads the disk, which nothing else waits for yet):
        LogStoreError, SettingsError, OSError: What `store`, the import folder or the list of nodes said.
    """

    def __init__(
        self,
        settings: PusherSettings,
        cluster: ClusterSettings,
        store: LogStore,
        calendar: Calendar | None = None,
        *,
        epoch: int = 0,
        ports: PusherPorts | None = None,
        imports: KeptImports | None = None,
        hosts: HostSources | None = None,
    ) -> None:
        """`epoch`: in which it is active, of several; 0: it is the only one. `ports`, `imports`, `hosts`: those of a
        process in which parts take turns; the ports are open by then."""
        self.epoch, self._own_ports = epoch, ports is None
        self.ports = ports or PusherPorts(settings, tuple(cluster.http_hosts))
        self.server, self.http = self.ports.server, self.ports.http
        self.settings, self.cluster, self.store = settings, cluster, store
        self.background = Background()
        self.draining = asyncio.Event()
        tell = Dispatcher(self._listeners()).tell
        history = founded(store, cluster)
        calendar = calendar or Calendar()
        sealing = Sealing(store, PusherVault(settings.state_path, settings.personal))
        asked = vault_asked(settings.log, calendar.untimely)
        self.door = RulesInForce(history, store.find, types_pb2.Update.FromString, calendar.due, asked, sealing.over)
        self.tail = LogTail(store, settings.log.tail_mib << 20)
        self.reading = LogReading(self.tail)
        self.writer = LogWriter(store, settings.log.group_updates_max, self.door, tell)
        self.personal = PersonalValues(settings, sealing, self.writer, self.door, self._node_names, self.draining)
        self.rule_records = RuleRecords(self.door, self.writer, self.background)
        self.kept = (imports or open_imports(settings, cluster.name)).begun()
        self.catalog = ImportCatalog(store, self.writer, self.kept, history)
        self.membership = Membership((hosts or HostSources(cluster)).newest(), cluster.coordinator, tell)
        self.lineage = LineageRunner(
            settings.lineage,
            store,
            self.writer,
            tell,
            nodes=self.membership.hosts,
            names_nodes_later=self.membership.names_nodes_later,
        )
        self.since_export = SinceExport(store, after_position=history.founded_at)
        self.traces = update_traces()
        self.admission = self._make_admission()
        self.intake = self._make_intake(tell)
        identity = PusherIdentity(cluster.name, self._address, history.founding, epoch)
        in_force = self.catalog.history.in_force
        sent = None if self.traces is None else self.traces.sent
        self.fan_out = FanOut(settings.replication, identity, store, self.tail, in_force, self.background, tell, sent)
        self.comparison = ComparisonRunner(settings.comparison, self.fan_out)
        self.skips = SkipRunner(store, self.writer, self.fan_out)
        self.rollout = RolloutRunner(
            settings.rollout,
            self.catalog,
            lambda: LoadSource(self._address(), store.log_id),
            self.background,
            self.fan_out.names,
            tell,
            import_traces(),
        )
        self.retention = Retention(
            settings.retention, store, self.writer, self.catalog, self.kept, self.fan_out.core, tell
        )
        self.metrics = self._make_metrics()
        self.answering = self._make_answering()

    def _make_admission(self) -> AdmissionRunner:
        end, rules = self.store.ends().last, lambda: self.door.rules
        return AdmissionRunner(self.settings.admission, end, self.writer.append, rules, self.draining, self.traces)

    def _node_names(self) -> list[str]:
        return [each.node for each in self.fan_out.progress()]

    def _make_intake(self, tell: Callable[[object], None]) -> ImportIntake:
        return ImportIntake(
            self.store,
            self.kept,
            self.catalog,
            self.since_export,
            lambda: known_columns(self.door.rules, self.personal.vault),
            KeptProfiles(self.settings.state_path / "profiles"),
            tell,
        )

    def _make_metrics(self) -> Metrics:
        counts = self.admission.core.counts
        metrics = pusher_metrics(
            self.cluster.name, self.store, self.writer, self.tail, counts, self.fan_out, self.comparison
        )
        metrics.gauge_by(
            "node",
            "node_import_unknown",
            "1 while a node serves an import that this pusher never gave to anybody: an alarm",
            self.rollout.strange_by_name,
        )
        metrics.gauge(
            "updates_under_way",
            "Updates that are pushed and have no receipt yet",
            lambda: self.admission.core.budget.taken,
        )
        metrics.gauge("import_refused", "1 while the newest import is one that was refused", self._newest_refused)
        metrics.gauge(
            "closed",
            "1 while no pushes are taken: nodes have another past than the log, or none yet, or it is gone: an alarm",
            lambda: bool(self._closed),
        )
        metrics.gauge(
            "import_store_unfit",
            "1 while the store of import files is away, lacks a file that is needed, or has a damaged one: an alarm",
            lambda: bool(self.kept.problem),
        )
        metrics.calls([self.server.calls])
        metrics.connections([self.server.connections])
        metrics.callers([self.server.callers])
        metrics.process(self.settings.state_path)
        return metrics

    def _newest_refused(self) -> bool:
        return any(each.state == pusher_pb2.IMPORT_STATE_REFUSED for each in self.catalog.newest(1))

    def _make_answering(self) -> Answering:
        started_at = Timestamp()
        started_at.GetCurrentTime()
        parts = Parts(
            cluster=self.cluster.name,
            started_at=started_at,
            admission=self.admission,
            fan_out=self.fan_out,
            reading=self.reading,
            catalog=self.catalog,
            rollout=self.rollout,
            intake=self.intake,
            skips=self.skips,
            personal=self.personal,
            comparison=self.comparison,
            lineage=self.lineage,
            rules=lambda: self.door.rules,
            rule_records=self.rule_records,
            membership=self.membership,
            log_damage=self._log_damage,
            log_gone=lambda: self.store.damage.gone,
            log_waits=lambda: self.admission.core.full or self.store.waits_for(),
            log_durability=self.store.durability,
            imports_kept=self.kept.told,
            draining=self.draining,
            epoch=self.epoch,
        )
        return Answering(
            PusherServicer(parts),
            ImportSourceServicer(self.catalog.find, self.kept.chunks),
            self.metrics,
            is_ready=self._is_ready,
        )

    async def start(self) -> None:
        """Begins. Raises OSError where a port is taken or the upload folder can't be made."""
        work = self._work()
        async with contextlib.AsyncExitStack() as begun:
            begun.callback(self._close)
            begun.push_async_callback(self.writer.stop)
            self.writer.start()
            if self._own_ports:
                await self.ports.start()
            begun.pop_all()
        self.ports.serve(self.answering)
        for run, name in work:
            self.background.start(run(), name)
        await self.server.set_active(True)
        logger.info("log %s: takes pushes at %s, http on port %d", self.store.log_id, self._address(), self.http.port)

    def _work(self) -> list[tuple[Callable[[], Coroutine[Any, Any, None]], str]]:
        """What runs for as long as the pusher does."""
        settings = self.settings
        work: list[tuple[Callable[[], Coroutine[Any, Any, None]], str]] = []
        if settings.upload_folder:
            uploads = UploadFolders(
                Path(settings.upload_folder),
                self.intake.profiles.names,
                self._upload_folder,
                self.background,
                poll_s=settings.upload_poll_s,
            )
            work.append((uploads.run, "watches for upload folders"))
        return [
            *work,
            (self.fan_out.run, "keeps the fan-out's time"),
            (self.comparison.run, "compares digests"),
            (self.rollout.run, "keeps the rollout's time"),
            (self.admission.run, "waits for the drain"),
            (RoomWatch(self.store, self.writer, self.admission).run, "looks for room"),
            (self.membership.run, "watches the cluster"),
            (self.retention.run, "forgets what is old"),
            (lambda: self.kept.run(self._needed_imports), "looks after the store of import files"),
            (self.lineage.run, "keeps the lineage's time"),
            (self.since_export.run, "knows how far the log went when"),
            (self.rule_records.run, "seals periods"),
            (self.personal.run, "has the log hear of erasures"),
            (LogCheck(self.store).run, "looks the log through"),
            (MovedWatch(self.store, self.writer, self.background).run, "looks whether the log was moved"),
        ]

    def _needed_imports(self) -> list[types_pb2.ImportManifest]:
        return [self.catalog.status(each.import_id).manifest for each in self.retention.needed()]

    def _upload_folder(self, folder: Path, profile: str) -> UploadFolder:
        return UploadFolder(
            folder,
            self.intake,
            self.catalog,
            self.background,
            lambda: bool(self._closed),
            profile=profile,
            poll_s=self.settings.upload_poll_s,
            stable_s=self.settings.upload_stable_s,
            marker_settle_s=self.settings.upload_marker_settle_s,
        )

    async def stop(self) -> None:
        """Ends: takes nothing more, gives the receipts that it owes, ends every stream, closes the log."""
        self.draining.set()
        await self.server.set_active(False)
        if self._own_ports:
            await self.server.stop(self.settings.drain_grace_s)
        else:
            await self.ports.end_calls(self.answering, self.settings.drain_grace_s)
        await self.background.stop()
        await self.writer.stop()
        await self.personal.close()
        if self._own_ports:
            await self.http.stop()
        self._close()

    def _close(self) -> None:
        self.metrics.close()
        self.store.close()

    def _address(self) -> str:
        """host:port at which nodes reach this pusher."""
        own = self.settings.listen_host
        reached = "127.0.0.1" if own in EVERY_ADDRESS else own
        return self.settings.advertise or address_of(reached, self.server.port)

    def _is_ready(self) -> Verdict:
        if self.draining.is_set():
            return Verdict(False, "stopping")
        problem = self._closed or self.admission.core.full if self.server.port else "starting"
        # A short wait is no reason to be left alone, nor are damaged records that nobody needs.
        told = dict.fromkeys((problem or "ready", self.store.waits_for(), self._log_damage()))
        return Verdict(not problem, "; ".join(filter(None, told)))

    @property
    def _closed(self) -> str:
        """Why nothing is taken until somebody acts; empty where it is."""
        return self.lineage.closed or self.store.damage.gone

    def _log_damage(self) -> str:
        return self.store.damage.in_words(self.store.ends().first)

    def _listeners(self) -> Listeners:
        """Who is told what, in this order. Parts are looked up when there is news: all are there by then."""
        return {
            # The receipts of a commit go first: its client waits. Then the tail: everyone else reads from that.
            Committed: (lambda news: self.admission.handle(news), self._look_for_another, self._trace),
            Run: (
                lambda news: self.tail.add(news),
                lambda news: self.fan_out.added(news),
                lambda news: self.reading.added(news),
            ),
            NodeConfirmed: (lambda news: self.admission.handle(news),),
            NodeStands: (
                lambda news: self.admission.handle(news),
                lambda news: self.rollout.heard(news),
                lambda news: self.lineage.heard(news),
            ),
            Door: (lambda news: self.admission.handle(news),),
            Adopted: (
                lambda news: self.lineage.handle(news),
                lambda news: self.fan_out.handle(LogReplaces(news.log_id)),
            ),
            # The rollout must know a node before that says what it serves.
            MembersChanged: (
                lambda news: self._tell_members(news),
                lambda news: self.lineage.heard(news),
                lambda news: self.rollout.heard(news),
                lambda news: self.fan_out.members_changed(news),
                lambda news: self.rule_records.members_changed(news),
            ),
            FileRules: (lambda news: self.rule_records.brought(news),),
            VersionKnown: (lambda news: self.rule_records.heard(news),),
            ImportAdded: (lambda news: self.rollout.handle(news),),
            LogEndChanged: (lambda news: self.fan_out.announce(news),),
            Trimmed: (lambda news: self.fan_out.handle(news),),
        }

    def _trace(self, news: Committed) -> None:
        if self.traces is not None:
            self.traces.committed(news)

    def _look_for_another(self, news: Committed) -> None:
        """Ends the pusher whose log another one has claimed: it can write nothing more."""
        for _, result in news.results:
            if isinstance(result, NotStored) and isinstance(result.error, DeposedError):
                self.background.end(result.error)

    def _tell_members(self, news: MembersChanged) -> None:
        addresses = news.now.addresses
        if addresses == news.before.addresses:
            return
        logger.info("the cluster has %d nodes: %s", len(addresses), ", ".join(addresses) or "none")
        if self._address().startswith("127.") and not all(map(_is_local, addresses)):
            logger.warning(
                "nodes on other machines can't reach the pusher at %s: set pusher.advertise", self._address()
            )


def _is_local(address: str) -> bool:
    return address.rpartition(":")[0] in ("localhost", "[::1]") or address.startswith("127.")
