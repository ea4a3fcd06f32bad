"""Which nodes there are, and which one is primary: the list of nodes, and the coordinator's view."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

import grpc
import grpc.aio

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.pusher.fanout.members import Members, MembersChanged
from services.shared.backoff import Backoff, Waits
from services.shared.domain.addresses import Host
from services.shared.membership.source import HostSource
from services.shared.membership.turns import Turns
from services.shared.serving.channels import open_channel

logger = logging.getLogger(__name__)

#: The coordinator speaks at least every second; longer silence means that the stream is dead.
_SILENCE_MAX_S = 5.0


def merge(hosts: Sequence[Host], cluster: coordinator_pb2.Cluster | None) -> Members:
    """The listed nodes and the coordinator's view as one list.

    A node that stands in both, under different addresses, must be fed once only: they are one where the instant or
    report address is the same, or where the node is named like the host and has its instant port.
    """
    addresses = [host.instant_address for host in hosts]
    names: dict[str, str] = {}
    primary: str | None = None
    alive: set[str] = set()
    for node in cluster.nodes if cluster is not None else ():
        address = next((host.instant_address for host in hosts if _same(host, node.address)), node.address.instant)
        if not address:
            continue
        if address not in addresses:
            addresses.append(address)
        names[address] = node.address.name
        if node.alive:
            alive.add(address)
        if cluster is not None and cluster.primary == node.address.name:
            primary = address
    return Members(tuple(addresses), tuple(names.items()), primary, frozenset(alive))


def _same(host: Host, node: coordinator_pb2.NodeAddress) -> bool:
    port = node.instant.rpartition(":")[2]
    named = node.name == host.host and port == str(host.instant_port)
    return host.instant_address == node.instant or host.report_address == node.report or named


class Membership:
    """Watches both; tells each change.

    Args:
        source: Where the nodes are listed; None where they are not.
        coordinator: host:port, or of several, with commas between; "" where there is none.
        tell: Gets each `MembersChanged`.
    """

    def __init__(self, source: HostSource | None, coordinator: str, tell: Callable[[MembersChanged], None]) -> None:
        self._source = source
        self._coordinator = coordinator
        self._tell = tell
        self._cluster: coordinator_pb2.Cluster | None = None
        self.members = Members()

    @property
    def problem(self) -> str:
        """What is wrong with the list of nodes now; empty where nothing is."""
        return self._source.problem if self._source is not None else ""

    @property
    def names_nodes_later(self) -> bool:
        """Whether there is somebody to say which nodes there are, and has not done so yet."""
        return bool(self._coordinator) or (self._source is not None and self._source.comes_later)

    @property
    def _hosts(self) -> tuple[Host, ...]:
        return self._source.hosts if self._source is not None else ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """Addresses of the listed nodes, as far as they are known before anybody is asked."""
        return merge(self._hosts, None).addresses

    async def run(self) -> None:
        """For as long as the pusher runs."""
        self._merge()
        async with asyncio.TaskGroup() as tasks:
            if self._source is not None:
                tasks.create_task(self._source.follow(lambda hosts: self._merge()))
            if self._coordinator:
                tasks.create_task(self._watch_cluster())

    def _merge(self) -> None:
        before, self.members = self.members, merge(self._hosts, self._cluster)
        if self.members != before:
            self._tell(MembersChanged(before, self.members))

    async def _watch_cluster(self) -> None:
        """The coordinator's view, again and again; the last known one stays while it is away."""
        waits = Waits(Backoff(0.05, 1.0, random.random))
        coordinators = Turns(self._coordinator)
        told = False
        while True:
            channel = open_channel(coordinators.address)
            try:
                stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
                call = stub.WatchCluster(coordinator_pb2.WatchClusterRequest())
                while True:
                    # Not by wait_for of asyncio: in Python 3.11 that forgets a cancellation that comes with the answer.
                    async with asyncio.timeout(_SILENCE_MAX_S):
                        response = await call.read()
                    if not isinstance(response, coordinator_pb2.WatchClusterResponse):
                        break
                    waits.reset()
                    coordinators.answered()
                    told = False
                    self._cluster = response.cluster
                    self._merge()
            except (grpc.aio.AioRpcError, TimeoutError) as error:
                if not told:
                    why = error.details() if isinstance(error, grpc.aio.AioRpcError) else "silent for too long"
                    logger.warning("coordinator %s: %s; goes on with what it said last", coordinators.address, why)
                told = True
            finally:
                await channel.close()
            if coordinators.pass_on():
                await asyncio.sleep(waits.next_s())
