"""The one home of "the cluster's nodes": where they are listed, and whoever wants to hear of each change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from services.shared.config.hosts_file import read_hosts_file
from services.shared.config.load import SettingsError
from services.shared.config.sections import ClusterSettings
from services.shared.domain.addresses import Host
from services.shared.membership.service_source import service_source

logger = logging.getLogger(__name__)

#: How often a host file is looked at where nobody says otherwise, in seconds.
HOSTS_POLL_S = 1.0
#: Hears the hosts, in order, at each change.
TellHosts = Callable[[tuple[Host, ...]], None]


class HostSource(Protocol):
    """A list of the cluster's nodes."""

    @property
    def hosts(self) -> tuple[Host, ...]:
        """As it was read last; what can't be read changes nothing."""

    @property
    def problem(self) -> str:
        """Why it can't be read now; empty where it can."""

    @property
    def comes_later(self) -> bool:
        """Whether it has not been read yet: the hosts are not known then, rather than none."""

    async def follow(self, tell: TellHosts) -> None:
        """Goes on reading it until it is cancelled."""


def host_source(cluster: ClusterSettings, interval_s: float) -> HostSource | None:
    """What the settings name; None where they name none, and nodes come as the coordinator hears of them.

    Args:
        interval_s: How often a host file is looked at.

    Raises:
        SettingsError: It can't be used: a file that is malformed, or no Kubernetes here.
    """
    if cluster.hosts_file:
        return FileSource(Path(cluster.hosts_file), interval_s)
    return service_source(cluster) if cluster.nodes_service else None


class HostSources:
    """The list for each part of a process that goes by it in its turn. It is read when this is made, so that what is
    wrong with it is told at the start; a part that takes over later, when no other one may be left, goes on with what
    was read last.

    Args:
        interval_s: How often a host file is looked at.

    Raises:
        SettingsError: As `host_source`.
    """

    def __init__(self, cluster: ClusterSettings, interval_s: float = HOSTS_POLL_S) -> None:
        self._cluster, self._interval_s = cluster, interval_s
        self._read = host_source(cluster, interval_s)

    def newest(self) -> HostSource | None:
        """One of its own, as the list is now; where it can't be read, as it was read last."""
        try:
            return host_source(self._cluster, self._interval_s)
        except SettingsError as error:
            if not isinstance(self._read, FileSource):
                raise
            logger.error("%s; the nodes from before stay", error)
            return FileSource(self._read.path, self._interval_s, self._read.hosts)

    async def follow(self) -> None:
        """Goes on reading a host file, so that what was read last is not old, until it is cancelled."""
        if isinstance(self._read, FileSource):
            await self._read.follow(lambda hosts: None)


class FileSource:
    """A host file. Reads it when it is made, unless there are hosts from before. Raises SettingsError."""

    comes_later = False

    def __init__(self, path: Path, interval_s: float, hosts: tuple[Host, ...] | None = None) -> None:
        self.path = path
        self._interval_s = interval_s
        self.hosts = tuple(read_hosts_file(path)) if hosts is None else hosts
        self.problem = ""

    async def follow(self, tell: TellHosts) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                hosts = tuple(await asyncio.to_thread(read_hosts_file, self.path))
            except SettingsError as error:
                if str(error) != self.problem:
                    logger.error("%s; the nodes from before stay", error)
                self.problem = str(error)
                continue
            self.problem = ""
            if hosts != self.hosts:
                self.hosts = hosts
                logger.info("host file: %s", ", ".join(host.report_address for host in hosts) or "empty")
                tell(hosts)
