"""The pusher as a whole: which part is told what by which, and in which order they begin and end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from fasttree.v1 import import_source_pb2_grpc
from services.pusher.admission.ack_desk import AckDesk
from services.pusher.admission.acks import KnownOutcome, NodeConfirmed
from services.pusher.admission.push import Pushing, Room
from services.pusher.background import Background
from services.pusher.fanout.events import NodeAppeared, NodesKnown
from services.pusher.fanout.membership import Members, Membership
from services.pusher.fanout.progress import NodeReplication
from services.pusher.fanout.runner import FanOut, FanOutListeners, PusherIdentity
from services.pusher.http import HttpServer
from services.pusher.imports.catalog import ImportCatalog
from services.pusher.imports.events import HostsKnown, ImportAdded, NodeDown, NodeUp, PrimarySeen
from services.pusher.imports.files import ImportFiles
from services.pusher.imports.intake import ImportIntake
from services.pusher.imports.retention import Retention
from services.pusher.imports.runner import RolloutRunner
from services.pusher.imports.upload_folder import UploadFolder
from services.pusher.log.frames import Run
from services.pusher.log.reading import LogReading
from services.pusher.log.store import LogStore
from services.pusher.log.tail import LogTail
from services.pusher.log.writer import LogWriter
from services.pusher.metrics import PusherMetrics
from services.pusher.service import ImportSourceServicer, Parts, PusherServicer, add_pusher_servicer
from services.pusher.settings import PusherSettings
from services.shared.config.load import ClusterSettings
from services.shared.serving.server import AddServicer, GrpcServer

logger = logging.getLogger(__name__)

_SERVICES = ("fasttree.v1.PusherService", "fasttree.v1.ImportSourceService")


class Pusher:
    """One pusher. `start` and `stop` once each, on a running event loop.

    Raises (the constructor; it reads the disk, which nothing else waits for yet):
        LogStoreError, SettingsError, OSError: What `store`, the import folder or the host file said.
    """

    def __init__(self, settings: PusherSettings, cluster: ClusterSettings, store: LogStore) -> None:
        self.settings, self.cluster, self.store = settings, cluster, store
        self.background = Background()
        self.draining = asyncio.Event()
        self.tail = LogTail(store, settings.tail_mib << 20)
        self.reading = LogReading(self.tail)
        self.writer = LogWriter(store, settings.group_updates_max, self._added)
        self.files = ImportFiles(Path(settings.folder) / "imports", settings.import_bytes_max)
        self.catalog = ImportCatalog(store, self.writer, self.files)
        self.desk = AckDesk(store.ends().last)
        hosts_file = Path(cluster.hosts_file) if cluster.hosts_file else None
        self.membership = Membership(hosts_file, cluster.coordinator, self._members_changed)
        self.pushing = Pushing(
            writer=self.writer,
            desk=self.desk,
            stream_updates_max=settings.push_stream_updates_max,
            room=Room(settings.push_updates_max),
            ack_timeout_s=settings.ack_timeout_s,
            draining=self.draining,
        )
        self.intake = ImportIntake(store, self.files, self.catalog, self._import_added)
        identity = PusherIdentity(cluster.name, self._address)
        in_force = self.catalog.in_force
        self.fan_out = FanOut(settings.replication(), identity, store.log_id, self.tail, in_force, self.background)
        self.fan_out.listeners = FanOutListeners(node_changed=self._node_changed, confirmed=self._confirmed)
        self.rollout = RolloutRunner(
            settings.rollout(),
            self.catalog,
            self._address,
            self.background,
            self.fan_out.announce,
            self.fan_out.names,
        )
        self.metrics = PusherMetrics(cluster.name)
        self.metrics.watch(store, self.writer, self.tail, self.pushing.counts, self.fan_out)
        self.http = HttpServer(settings.http_listen, self.metrics, self._not_ready)
        self.server = self._make_server()

    def _make_server(self) -> GrpcServer:
        started_at = Timestamp()
        started_at.GetCurrentTime()
        parts = Parts(
            cluster=self.cluster.name,
            started_at=started_at,
            pushing=self.pushing,
            fan_out=self.fan_out,
            reading=self.reading,
            catalog=self.catalog,
            files=self.files,
            intake=self.intake,
            draining=self.draining,
        )
        services: list[tuple[AddServicer, object]] = [
            (add_pusher_servicer, PusherServicer(parts)),
            (import_source_pb2_grpc.add_ImportSourceServiceServicer_to_server, ImportSourceServicer(parts)),
        ]
        return GrpcServer(self.settings.listen, services, _SERVICES)

    async def start(self) -> None:
        """Begins. Raises OSError where a port is taken or the upload folder can't be made."""
        work = self._work()
        self.writer.start()
        await self.http.start()
        await self.server.start()
        for coroutine, name in work:
            self.background.start(coroutine, name)
        await self.server.set_active(True)
        logger.info("log %s: takes pushes at %s, http on port %d", self.store.log_id, self._address(), self.http.port)

    def _work(self) -> list[tuple[Coroutine[Any, Any, None], str]]:
        """What runs for as long as the pusher does."""
        settings = self.settings
        retention = Retention(settings, self.store, self.writer, self.catalog, self.files, self.fan_out.core)
        work: list[tuple[Coroutine[Any, Any, None], str]] = []
        if settings.upload_folder:
            uploads = UploadFolder(
                Path(settings.upload_folder),
                self.intake,
                self.catalog,
                self.background,
                poll_s=settings.upload_poll_s,
                stable_s=settings.upload_stable_s,
            )
            work.append((uploads.run(), "watches the upload folder"))
        return [
            *work,
            (self.fan_out.run(), "keeps the fan-out's time"),
            (self.rollout.run(), "keeps the rollout's time"),
            (self.desk.run(), "keeps the receipts' time"),
            (self.membership.run(), "watches the cluster"),
            (retention.run(), "forgets what is old"),
        ]

    async def stop(self) -> None:
        """Ends: takes nothing more, gives the receipts that it owes, ends every stream, closes the log."""
        self.draining.set()
        await self.server.set_active(False)
        await self.server.stop(self.settings.grace_s)
        await self.background.stop()
        await self.writer.stop()
        await self.http.stop()
        self.metrics.close()
        self.store.close()

    def _address(self) -> str:
        """host:port at which nodes reach this pusher."""
        if self.settings.advertise:
            return self.settings.advertise
        host = self.settings.listen.rpartition(":")[0]
        return f"{'127.0.0.1' if host in ('', '0.0.0.0', '[::]') else host}:{self.server.port}"

    def _not_ready(self) -> str:
        if self.draining.is_set():
            return "stopping"
        return self.pushing.full if self.server.port else "starting"

    # -- who tells whom

    def _added(self, run: Run) -> None:
        """A commit is durable. The tail comes first: everyone else reads from it."""
        self.tail.add(run)
        self.fan_out.added(run)
        self.reading.added(run)

    def _confirmed(self, node: str, position: int, not_applied: tuple[tuple[int, KnownOutcome], ...]) -> None:
        self.desk.confirmed(NodeConfirmed(node, position, not_applied))

    def _node_changed(self, address: str, node: NodeReplication | None) -> None:
        self.desk.node_changed(address, node)
        if node is not None and node.connected:
            self.rollout.handle(NodeUp(address, node.import_id))
        else:
            self.rollout.handle(NodeDown(address))

    def _import_added(self, import_id: int) -> None:
        self.rollout.handle(ImportAdded(import_id))

    def _members_changed(self, before: Members, now: Members) -> None:
        self.fan_out.names.update(now.names)
        if now.addresses != before.addresses:
            logger.info("the cluster has %d nodes: %s", len(now.addresses), ", ".join(now.addresses) or "none")
            if self._address().startswith("127.") and not all(map(_is_local, now.addresses)):
                logger.warning(
                    "nodes on other machines can't reach the pusher at %s: set pusher.advertise", self._address()
                )
            # The rollout first: it must know a node before that says what it serves.
            self.rollout.handle(HostsKnown(now.addresses))
            self.fan_out.handle(NodesKnown(now.addresses))
        if now.primary != before.primary:
            self.rollout.handle(PrimarySeen(now.primary))
        for address in now.alive - before.alive:
            self.fan_out.handle(NodeAppeared(address))


def _is_local(address: str) -> bool:
    return address.rpartition(":")[0] in ("localhost", "[::1]") or address.startswith("127.")
