"""The service for DataTrax as a process: the way to the pusher, the local instant port, HTTP; drains on SIGTERM."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path

from fasttree.client import Client, Endpoints, PushOptions, TlsFiles
from fasttree.v1 import pusher_pb2
from services.datatrax.cleaning import SpoolCleaning
from services.datatrax.in_force.places import PORT, PROGRESS, below, chosen_environment, settings_from
from services.datatrax.in_force.status import status_page
from services.datatrax.in_force.watching import WatchedConfiguration, first_look, sound
from services.datatrax.instant.port import InstantPort
from services.datatrax.layouts.layout import LayoutError
from services.datatrax.layouts.records import RecordForm, read_layout
from services.datatrax.logs.host_logs import HostLogs
from services.datatrax.messages.port import MessagePort
from services.datatrax.messages.senders.hits import HITS_LOG
from services.datatrax.progress import ProgressFiles
from services.datatrax.sending import Sender
from services.datatrax.settings import DataTraxSettings
from services.datatrax.spool.folder import SpoolFolder
from services.shared.config.load import SettingsError, given_places, load_settings
from services.shared.config.sections import ClusterSettings, value_of
from services.shared.security.audit.log import begin_audit
from services.shared.security.audit.settings import AuditSettings
from services.shared.security.own import own_tls
from services.shared.serving.background import Background
from services.shared.serving.metrics import Metrics
from services.shared.serving.ops_port import OpsPort, Verdict
from services.shared.serving.process import run

logger = logging.getLogger(__name__)

#: What the word to push again may take on its way, in seconds.
_LAST_WORDS_S = 1.0
_LEVELS = {
    "durable": pusher_pb2.ACK_LEVEL_DURABLE,
    "one": pusher_pb2.ACK_LEVEL_ONE_NODE,
    "all": pusher_pb2.ACK_LEVEL_ALL_NODES,
}


class DataTrax:
    """A running service. `start` makes one."""

    def __init__(
        self, cluster: ClusterSettings, settings: DataTraxSettings, configuration: WatchedConfiguration | None = None
    ) -> None:
        """Raises SettingsError where the layout can't be, OSError where the spool can't be made."""
        self.settings = settings
        #: CBLDATATRAX, where the service goes by it.
        self.configuration = configuration
        why_closed = configuration.why_closed if configuration is not None else _open
        self.background = Background()
        self.client = Client(Endpoints(pusher=settings.pusher, coordinator=cluster.coordinator), tls=_client_tls())
        options = PushOptions(ack_level=_LEVELS[settings.ack], patience_s=settings.patience_s)
        self.sender = Sender(self.client, options, settings.instant.instant_waiting_max)
        self.instant = InstantPort(settings.instant, _records(settings.instant.instant_layout), self.sender, why_closed)
        spool = settings.spool
        self.spool = SpoolFolder(spool, self.client, options, why_closed) if spool.spool_folder else None
        self.progress = _progress(cluster, settings, self.client)
        self.cleaning = SpoolCleaning(spool)
        self.metrics = _metrics(self.instant, self.sender, self.spool, configuration)
        self.logs = HostLogs(cluster.coordinator, settings.logs_answer_s)
        self.http = OpsPort(
            "datatrax.http_port",
            self.metrics,
            {"/readyz": self._is_ready},
            [status_page(configuration), *self.logs.routes()],
            names=(settings.listen_host, settings.http_host, *cluster.http_hosts),
        )
        #: None where there are none.
        self.messages: MessagePort | None = None
        self._stopping = False

    @classmethod
    async def start(
        cls, cluster: ClusterSettings, settings: DataTraxSettings, configuration: WatchedConfiguration | None = None
    ) -> DataTrax:
        """Listens. Raises SettingsError, OSError."""
        service = cls(cluster, settings, configuration)
        async with contextlib.AsyncExitStack() as begun:
            # On both ports, or on none.
            begun.callback(service.metrics.close)
            begun.push_async_callback(service.client.close)
            begun.push_async_callback(service.logs.close)
            begun.push_async_callback(service.instant.stop, 0.0)
            port = await service.instant.start(settings.listen_host)
            begun.push_async_callback(service.http.stop)
            http_port = await service.http.start(settings.http_host or settings.listen_host, settings.http_port)
            if settings.messages.message_folder:
                service.messages = await MessagePort.start(
                    settings.messages, settings.serving, settings.listen_host, service.background
                )
                service.messages.show(service.metrics)
                service.logs.sources[HITS_LOG] = service.messages.runner.hits
            begun.pop_all()
        service.background.start(service.sender.run(), "sends to the pusher")
        if configuration is not None:
            service.background.start(configuration.run(), "watches CBLDATATRAX")
        if service.progress is not None:
            service.background.start(service.progress.run(), "writes the nodes' progress")
        if service.spool is not None:
            service.background.start(service.spool.run(), "watches the spool")
            service.background.start(service.cleaning.run(), "cleans the spool")
        logger.info("sends to %s: lines at %s:%d, HTTP %d", settings.pusher, settings.listen_host, port, http_port)
        return service

    async def stop(self) -> None:
        """Drains: no more lines; those that came get their receipts, or the word to push them again."""
        self._stopping = True
        await self.instant.stop(self.settings.drain_grace_s)
        if self.messages is not None:
            await self.messages.stop(self.settings.drain_grace_s)
        await self.background.stop()
        await self.instant.stop(_LAST_WORDS_S)
        await self.client.close()
        self.logs.end()
        await self.http.stop()
        await self.logs.close()
        self.metrics.close()

    def _is_ready(self) -> Verdict:
        problem = "ending" if self._stopping else self.sender.problem
        return Verdict(not problem, f"not ready: {problem}" if problem else "ready")


def _client_tls() -> TlsFiles | None:
    """This process's own certificate."""
    tls = own_tls()
    if tls is None:
        return None
    certificate, key, ca = map(str, tls.files)
    return TlsFiles(certificate=certificate, key=key, ca=ca, server_name=tls.server_name(""))


def _progress(cluster: ClusterSettings, settings: DataTraxSettings, client: Client) -> ProgressFiles | None:
    if not settings.progress_folder:
        return None
    if not cluster.coordinator:
        raise SettingsError("datatrax.progress_folder: cluster.coordinator is empty, and knows what nodes do: name it")
    folder, kept_s = Path(settings.progress_folder).absolute(), settings.progress_kept_s
    return ProgressFiles(folder, settings.instant.instant_port, client, kept_s)


def _metrics(
    instant: InstantPort, sender: Sender, spool: SpoolFolder | None, configuration: WatchedConfiguration | None
) -> Metrics:
    metrics = Metrics("datatrax", "fasttree_datatrax_")
    metrics.gauge("programs", "Programs that are connected to the instant port.", lambda: instant.connected)
    metrics.counter("lines", "Lines that came to the instant port.", lambda: instant.lines)
    metrics.counter("refused_lines", "Lines of the instant port that were no update.", lambda: instant.refused_lines)
    metrics.counter("receipts", "Receipts of the pusher.", lambda: sender.receipts)
    metrics.gauge("pusher_reachable", "0 while there is no way to the pusher.", lambda: not sender.problem)
    if spool is not None:
        metrics.counter("spool_files", "Files of the spool that were taken or refused.", lambda: spool.files)
        metrics.counter(
            "spool_refused_files", "Files of the spool of which something was refused.", lambda: spool.refused_files
        )
        metrics.counter("spool_updates", "Updates of the spool that got their receipts.", lambda: spool.updates)
    if configuration is not None:
        file = configuration
        metrics.gauge("configuration_good", "0 while CBLDATATRAX as it lies there is refused.", lambda: not file.faults)
        metrics.gauge("open", "0 while CBLDATATRAX says that no updates are taken.", lambda: not file.why_closed())
        metrics.counter("configuration_changes", "Changes of CBLDATATRAX that were taken.", lambda: file.changes_taken)
        metrics.counter("configuration_refusals", "Times that CBLDATATRAX was refused.", lambda: file.files_refused)
    return metrics


def _records(layout: str) -> RecordForm | None:
    if not layout:
        return None
    try:
        form = RecordForm(read_layout(Path(layout)))
    except (LayoutError, OSError) as error:
        raise SettingsError(f"datatrax.instant_layout: {layout}: {error}") from None
    if not form.layout.has_lines:
        raise SettingsError(f'datatrax.instant_layout: {layout}: a record there is a line: set ends = "line"')
    if not form.names_ids:
        raise SettingsError(f"datatrax.instant_layout: {layout}: a line has no place in a file: name an update_id")
    return form


def _open() -> str:
    return ""


def _by_cbldatatrax(
    cluster: ClusterSettings, settings: DataTraxSettings, config: Path | None, overrides: Mapping[str, str]
) -> tuple[DataTraxSettings, WatchedConfiguration]:
    """The settings with what that file says, and the file as it is watched. Raises SettingsError."""
    own = settings.configuration
    file, folder = Path(own.cbldatatrax), Path(below(own.root, own.folder))
    kept = folder / f".CBLDATATRAX{'-' if own.environment else ''}{own.environment}"
    first = sound(first_look(file, None, kept), file)
    given = {name: str(value_of(settings, name)) for name in given_places("datatrax", config, overrides)}
    try:
        environment = chosen_environment(first, own.environment)
    except SettingsError as error:
        raise SettingsError(f"{file}: {error} (--environment, or datatrax.environment)") from None
    made = settings_from(first, folder, given)
    if not cluster.coordinator:
        made.pop(PROGRESS, None)
    port = given.get(PORT) or made[PORT]
    hosts_file = Path(cluster.hosts_file) if cluster.hosts_file else folder / f"hosts.{port}"
    configuration = WatchedConfiguration(file, environment, hosts_file, own.cbldatatrax_poll_s, kept)
    as_overrides = {f"datatrax.{name}": value for name, value in made.items()}
    settings = load_settings(DataTraxSettings, "datatrax", config, {**as_overrides, **overrides})
    logger.info("goes by %s for %s; %s", file, environment, configuration.why_closed() or "updates are taken")
    return settings, configuration


def start(config: Path | None, overrides: dict[str, str]) -> None:
    """Runs the service until SIGTERM or SIGINT.

    Raises:
        SettingsError, StartupError, OSError: It can't start; one line.
    """
    cluster = load_settings(ClusterSettings, "cluster", config, overrides)
    settings = load_settings(DataTraxSettings, "datatrax", config, overrides)
    configuration = None
    if settings.configuration.cbldatatrax:
        settings, configuration = _by_cbldatatrax(cluster, settings, config, overrides)
    audit = load_settings(AuditSettings, "audit", config, overrides)
    # It has a state where there are messages; without them nobody can change anything here.
    if settings.messages.message_folder or audit.folder:
        begin_audit(audit, "datatrax", Path(settings.messages.message_folder).absolute())

    async def serve() -> DataTrax:
        return await DataTrax.start(cluster, settings, configuration)

    run(serve)
