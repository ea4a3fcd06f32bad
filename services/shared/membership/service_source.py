"""The nodes of a headless Service: performs what `endpoints.py` decides, over the API server's watch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from services.shared.config.sections import ClusterSettings
from services.shared.cores import Tick
from services.shared.domain.addresses import Host
from services.shared.membership.endpoints import (
    EndpointEvent,
    ServiceMembers,
    SliceChanged,
    SliceError,
    SliceGone,
    SlicesListed,
    slice_of,
)

if TYPE_CHECKING:
    from services.shared.kubernetes.api import KubernetesApi
    from services.shared.kubernetes.watching import Changed, Failed, Listed
    from services.shared.membership.source import TellHosts

logger = logging.getLogger(__name__)

_TIMEOUT_S = 10.0


def service_source(cluster: ClusterSettings) -> ServiceSource:
    """The nodes of `cluster.nodes_service`. Raises SettingsError where this is no pod."""
    from services.shared.kubernetes.api import own_api

    api = own_api(cluster.service_account_folder, _TIMEOUT_S)
    return ServiceSource(api, cluster.nodes_service, cluster.nodes_linger_s)


class ServiceSource:
    """See HostSource. Knows nobody before the API server has answered for the first time."""

    def __init__(self, api: KubernetesApi, service: str, linger_s: float) -> None:
        self._api = api
        self._service = service
        self._core = ServiceMembers(linger_s)
        self._tell: TellHosts = lambda hosts: None
        #: There may be another time at which somebody leaves.
        self._changed = asyncio.Event()
        self.problem = ""
        self.comes_later = True

    @property
    def hosts(self) -> tuple[Host, ...]:
        return self._core.hosts

    async def follow(self, tell: TellHosts) -> None:
        from services.shared.kubernetes.watching import Watch

        self._tell = tell
        watch = Watch(self._api, self._path, f"kubernetes.io/service-name={self._service}", self._take)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watch.run())
                tasks.create_task(self._keep_time())
        finally:
            await self._api.close()

    def _path(self) -> str:
        return f"/apis/discovery.k8s.io/v1/namespaces/{self._api.namespace}/endpointslices"

    async def _keep_time(self) -> None:
        while True:
            self._changed.clear()
            due_s = self._core.deadline_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due_s is None else max(0.0, due_s - time.monotonic())):
                    await self._changed.wait()
            self._handle(Tick())

    def _take(self, news: Listed | Changed | Failed) -> None:
        from services.shared.kubernetes.watching import Changed, Failed, Listed

        try:
            match news:
                case Listed():
                    self._handle(SlicesListed(tuple(slice_of(each, self._service) for each in news.objects)))
                    self._says("" if self.hosts else f"Service {self._service} has no endpoints: no node is there")
                case Changed():
                    changed = slice_of(news.object, self._service)
                    self._handle(SliceGone(changed.name) if news.gone else SliceChanged(changed))
                    self._says("")
                case Failed():
                    self._says(news.problem)
        except SliceError as error:
            self._says(str(error))

    def _handle(self, event: EndpointEvent) -> None:
        for members in self._core.handle(event, time.monotonic()):
            self.comes_later = False
            logger.info("nodes of Service %s: %s", self._service, ", ".join(host.host for host in members.hosts))
            self._tell(members.hosts)
        if not isinstance(event, Tick):
            self._changed.set()

    def _says(self, problem: str) -> None:
        if problem and problem != self.problem:
            logger.error("%s; the nodes from before stay", problem)
        self.problem = problem
