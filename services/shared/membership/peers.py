"""Where a node finds the others when no coordinator can name them."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

from services.shared.config.hosts_file import read_hosts_file
from services.shared.config.load import SettingsError
from services.shared.config.sections import ClusterSettings
from services.shared.domain.addresses import HOSTS_MAX, address_of, host_and_port

logger = logging.getLogger(__name__)


async def listed_peers(cluster: ClusterSettings, own_address: str) -> list[str]:
    """Addresses of the other nodes' instant ports, as the host file or the headless Service's name has them.

    Every node of a Service has the same ports. A node asks the name alone: it needs no word with the API server.
    """
    if cluster.hosts_file:
        try:
            hosts = await asyncio.to_thread(read_hosts_file, Path(cluster.hosts_file))
        except SettingsError as error:
            logger.warning("%s", error)
            return []
        return [host.instant_address for host in hosts if host.instant_address != own_address]
    if not cluster.nodes_service:
        return []
    own_host, port = host_and_port(own_address)
    try:
        every = await _addresses(cluster.nodes_service)
    except OSError as error:
        logger.warning("cluster.nodes_service %s has no addresses: %s", cluster.nodes_service, error.strerror or error)
        return []
    try:
        own = await _addresses(own_host)
    except OSError:
        own = set()  # its own name is not told yet: it may ask itself, which does no harm
    return [address_of(host, port) for host in sorted(every - own)[:HOSTS_MAX]]


async def _addresses(host: str) -> set[str]:
    """Every address of a name. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return {str(address[0]) for *_, address in found}
