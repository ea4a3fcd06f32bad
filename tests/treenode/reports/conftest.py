"""A report service in this process, behind real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc.aio
import pytest

from fasttree.v1 import report_pb2_grpc, types_pb2
from services.shared.serving.server import GrpcServer
from services.treenode.reports import ReadGate, ReportLimits, ReportServicer, add_report_service
from services.treenode.reports.serving import GET_MEMBER
from services.treenode.tree import Tree

#: Everything in threads and in many small pieces, so that small trees take the ways of large ones.
SMALL_LIMITS = ReportLimits(
    streams_max=2,
    loop_sum_rows_max=0,
    loop_copy_rows_max=0,
    loop_encode_rows_max=0,
    position_wait_s_max=0.05,
    message_bytes=4000,
    batch_rows_max=64,
)


@dataclass
class SteeredNode:
    """A node as reports see it; the test moves it."""

    tree: Tree | None
    gate: ReadGate = field(default_factory=ReadGate)
    moved: asyncio.Condition = field(default_factory=asyncio.Condition)

    def as_of(self) -> types_pb2.AsOf:
        """Of the tree as it is now."""
        assert self.tree is not None
        return types_pb2.AsOf(import_id=self.tree.import_id, position=self.tree.position, epoch=7, node="n1")

    def as_of_bytes(self) -> bytes:
        """The same, serialized."""
        return self.as_of().SerializeToString()

    async def wait_for_position(self, position: int) -> None:
        async with self.moved:
            await self.moved.wait_for(lambda: self.tree is not None and self.tree.position >= position)

    async def apply(self, updates: list[types_pb2.Update]) -> None:
        """Applies updates as a node does."""
        async with self.gate.write():
            assert self.tree is not None
            self.tree.apply(self.tree.position + 1, updates)
        async with self.moved:
            self.moved.notify_all()


@dataclass
class Served:
    """A node, its service and a client of it."""

    node: SteeredNode
    servicer: ReportServicer
    stub: report_pb2_grpc.ReportServiceAsyncStub


class Services:
    """Starts services; the fixture ends them."""

    def __init__(self) -> None:
        self._open: list[tuple[GrpcServer, grpc.aio.Channel, Served]] = []

    async def start(self, tree: Tree | None, limits: ReportLimits | None = None) -> Served:
        """A service of a tree."""
        node = SteeredNode(tree)
        servicer = ReportServicer(node, limits)
        server = GrpcServer(
            "127.0.0.1:0",
            [(add_report_service, servicer)],
            ["fasttree.v1.ReportService"],
            at_once={GET_MEMBER: servicer.member_at_once},
        )
        port = await server.start()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        served = Served(node, servicer, report_pb2_grpc.ReportServiceStub(channel))
        self._open.append((server, channel, served))
        return served

    async def close(self) -> None:
        """Ends them."""
        for server, channel, served in self._open:
            await channel.close()
            await server.stop(0)
            served.servicer.close()
            served.node.gate.close()


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    opened = Services()
    yield opened
    await opened.close()
