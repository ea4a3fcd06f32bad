"""A small cluster of fakes, for whoever speaks the public API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fasttree.client import Endpoints, NodeEndpoint
from fasttree.v1 import coordinator_pb2
from tests.fakes.coordinator import FakeCoordinator
from tests.fakes.node import FakeNode
from tests.fakes.pusher import FakePusher
from tests.fakes.reports import FakeReports
from tests.fakes.server import Fake

_MEMBERS = {"m0": ("", 11), "m1": ("m0", 22), "m2": ("m1", 33), "m3": ("m0", 44)}


class FakeCluster:
    """A pusher, two nodes at position 7 of import 1, their reports behind a VIP, and a coordinator in epoch 4."""

    def __init__(self) -> None:
        self.pusher = FakePusher()
        self.reports = FakeReports()
        self.coordinator = FakeCoordinator()
        self.nodes = [FakeNode(name, dict(_MEMBERS)) for name in ("n1", "n2")]
        for node in self.nodes:
            node.import_id, node.position = 1, 7
            self.coordinator.add_node(
                node.name, coordinator_pb2.NODE_STATE_PASSIVE, import_id=1, position=7, digest=0xABC
            )
        self.coordinator.cluster.nodes[0].status.state = coordinator_pb2.NODE_STATE_PRIMARY
        self.coordinator.cluster.nodes[0].status.primary_epoch = 4
        self.coordinator.give_role("n1", epoch=4)
        self.endpoints = Endpoints()

    @property
    def _fakes(self) -> list[Fake]:
        return [self.pusher, self.reports, self.coordinator, *self.nodes]

    async def start(self) -> None:
        """All of it, on free ports."""
        for fake in self._fakes:
            await fake.start()
        vip = self.reports.address
        nodes = tuple(NodeEndpoint(name=node.name, report=vip, instant=node.address) for node in self.nodes)
        self.endpoints = Endpoints(
            vip=vip, pusher=self.pusher.address, coordinator=self.coordinator.address, nodes=nodes
        )

    async def stop(self) -> None:
        """Ends all streams."""
        await asyncio.gather(*(fake.stop() for fake in self._fakes))


@asynccontextmanager
async def fake_cluster() -> AsyncIterator[FakeCluster]:
    cluster = FakeCluster()
    await cluster.start()
    try:
        yield cluster
    finally:
        await cluster.stop()
