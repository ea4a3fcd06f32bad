"""The console as a process: one look at the cluster for all, and the pages."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from aiohttp import web

from fasttree.client import Client, Endpoints, Retries, TlsFiles
from services.console.api.cluster import ClusterPages
from services.console.api.drill import DrillPages, drill_endpoints
from services.console.api.exports import ExportPages
from services.console.api.finding import FindPages
from services.console.api.imports import ImportPages
from services.console.api.machine import MachinePages
from services.console.api.members import MemberPages
from services.console.api.orders import OrderPages
from services.console.api.runbook import Runbook
from services.console.api.updates import UpdatePages
from services.console.http.assets import asset_routes, read_assets
from services.console.http.port import ConsolePort
from services.console.parts.asking import Parts
from services.console.parts.places import parts_of
from services.console.settings import ConsoleSettings
from services.console.watching.viewers import Viewers
from services.console.watching.watcher import Watcher
from services.shared.config.load import load_settings
from services.shared.config.sections import ClusterSettings
from services.shared.security.own import own_tls
from services.shared.serving.background import Background
from services.shared.serving.metrics import Metrics
from services.shared.serving.ops_port import figures_page
from services.shared.serving.process import run

logger = logging.getLogger(__name__)


class Console:
    """A running service. `start` makes one."""

    def __init__(self, cluster: ClusterSettings, settings: ConsoleSettings) -> None:
        """Raises SettingsError, OSError."""
        self.background = Background()
        endpoints = Endpoints(vip=settings.vip, pusher=settings.pusher, coordinator=cluster.coordinator)
        #: Of what is asked all the time, and of what a browser asks for.
        self._watching = Client(endpoints, retries=Retries(timeout_s=settings.watch.answer_s), tls=_client_tls())
        self._asking = Client(endpoints, retries=Retries(timeout_s=settings.viewer.report_s), tls=_client_tls())
        self.watcher = Watcher(self._watching, settings.watch)
        self.viewers = Viewers(self.watcher, settings.viewer)
        self._drills = DrillPages(
            lambda read: Client(drill_endpoints(endpoints, read), retries=Retries(), tls=_client_tls()), settings.drill
        )
        self.watcher.further = self._drills.problems
        self._named = parts_of(settings.machine)
        self.metrics = Metrics("console", "fasttree_console_")
        self.metrics.gauge(
            "drill_not_undone",
            "1 where a drill has ended and not all is as it was.",
            lambda: int(self._drills.is_left_undone),
        )
        self.metrics.gauge("viewers", "Browsers that follow the cluster.", lambda: self.viewers.count)
        self.metrics.counter(
            "stalled_viewers", "Browsers let go since they took nothing.", lambda: self.viewers.stalled
        )
        self.members = MemberPages(self._asking, settings.viewer.reports_max)
        self.orders = OrderPages(self._asking, settings.viewer, settings.watch.poll_s)
        self.metrics.gauge("order_viewers", "Browsers that look at orders as they come.", lambda: self.orders.count)
        self.metrics.gauge("reports_open", "Reports under way for browsers.", lambda: self.members.open)
        routes = [
            web.get("/livez", self._live),
            web.get("/readyz", self._live),
            web.get("/metrics", self._figures),
            *asset_routes(read_assets()),
            *Runbook().routes(),
            *ImportPages(self._asking).routes(),
            *UpdatePages(self._asking).routes(),
            *self._drills.routes(),
            *MachinePages(settings.machine, Parts(self._places, _client_tls(), settings.watch.answer_s)).routes(),
            *self.members.routes(),
            *self.orders.routes(),
            *FindPages(self.members.reports, settings.name_column).routes(),
            *ExportPages(self.members.reports, settings.viewer).routes(),
            *ClusterPages(self._asking, self.watcher, self.viewers, settings.viewer).routes(),
        ]
        self.http = ConsolePort(settings.door, cluster.http_hosts, routes)

    @classmethod
    async def start(cls, cluster: ClusterSettings, settings: ConsoleSettings) -> Console:
        """Listens. Raises SettingsError, OSError."""
        service = cls(cluster, settings)
        async with contextlib.AsyncExitStack() as begun:
            begun.push_async_callback(service.stop)
            port = await service.http.start()
            begun.pop_all()
        service.background.start(service.watcher.run(), "watches the cluster")
        service._drills.start()
        logger.info("pages at %s:%d, of the cluster at %s", settings.door.listen_host, port, cluster.coordinator)
        return service

    async def stop(self) -> None:
        """Lets the browsers go; they come back by themselves."""
        self.viewers.end()
        self.orders.end()
        await self.http.stop()
        await self._drills.stop()
        await self.background.stop()
        await self._watching.close()
        await self._asking.close()
        self.metrics.close()

    def _places(self) -> dict[str, str]:
        """The parts' HTTP ports."""
        nodes = {name: place.http for name, place in self.watcher.node_addresses().items() if place.http}
        return {**nodes, **self._named}

    async def _live(self, _: web.Request) -> web.Response:
        """It is useful without a cluster too: it says that there is none."""
        return web.Response(text="live\n")

    async def _figures(self, request: web.Request) -> web.Response:
        return figures_page(self.metrics, request)


def _client_tls() -> TlsFiles | None:
    """This process's own certificate."""
    tls = own_tls()
    if tls is None:
        return None
    certificate, key, ca = map(str, tls.files)
    return TlsFiles(certificate=certificate, key=key, ca=ca, server_name=tls.server_name(""))


def start(config: Path | None, overrides: dict[str, str]) -> None:
    """Runs the service until SIGTERM or SIGINT. Raises SettingsError, StartupError, OSError."""
    cluster = load_settings(ClusterSettings, "cluster", config, overrides)
    settings = load_settings(ConsoleSettings, "console", config, overrides)

    async def serve() -> Console:
        return await Console.start(cluster, settings)

    run(serve)
