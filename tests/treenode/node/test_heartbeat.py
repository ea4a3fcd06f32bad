"""Role by lease, over a real KeepAlive stream; health on both gRPC ports and by HTTP follows it."""

from pathlib import Path

import aiohttp
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fasttree.v1 import coordinator_pb2
from services.shared.debug.debug_log import NODE_LOG
from services.shared.serving import streams
from services.shared.serving.channels import open_channel
from services.treenode.app import TreeNode
from services.treenode.node.lifecycle import NodeState
from tests.fakes.coordinator import fake_coordinator
from tests.fakes.import_file import csv_of
from tests.fakes.pusher import fake_pusher
from tests.fakes.pusher_stream import Stream
from tests.treenode.running_node import load_import, running_node
from tests.waiting import until


async def health(node: TreeNode) -> dict[str, bool]:
    """What the node says by gRPC (on both ports alike) and by HTTP."""
    found: dict[str, bool] = {}
    for name in ("", "ready", "primary"):
        answers = set()
        for address in (node.address.report, node.address.instant):
            async with open_channel(address) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
                answers.add(answer.status == health_pb2.HealthCheckResponse.SERVING)
        assert len(answers) == 1
        found[name or "live"] = answers.pop()
    async with aiohttp.ClientSession() as session:
        for name, path in (("live", "livez"), ("ready", "readyz"), ("primary", "primary")):
            async with session.get(f"http://{node.address.http}/{path}") as response:
                assert response.status in (200, 503)
                assert (response.status == 200) is found[name], path
    return found


@pytest.fixture(params=["nghttp2", "grpcio"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What carries heartbeats: the second where ngh2 is missing."""
    if request.param == "grpcio":
        monkeypatch.setattr(streams, "ClientStream", None)
    return str(request.param)


async def test_a_lease_goes_on_by_answers_that_wake_no_loop(tmp_path: Path) -> None:
    async with (
        fake_pusher() as pusher,
        fake_coordinator() as coordinator,
        running_node(tmp_path, coordinator=coordinator.address, heartbeat_s=0.05) as node,
    ):
        coordinator.lease_ms = 60_000
        async with Stream(node, pusher) as stream:
            await stream.hello()
            coordinator.give_role("n1")
            role = node.runner.core.role
            await until(lambda: role.lease_until_s is not None, "the node to be primary")
            first_s = role.lease_until_s or 0.0
            await until(lambda: (role.lease_until_s or 0.0) > first_s + 0.2, "the lease to go on")
            await until(lambda: len(node.runner.lease_words) < 3, "the words to be heard")


async def test_health_follows_the_role_and_the_role_follows_the_lease(tmp_path: Path, client: str) -> None:
    async with (
        fake_pusher() as pusher,
        fake_coordinator() as coordinator,
        running_node(tmp_path, coordinator=coordinator.address, heartbeat_s=0.05) as node,
    ):
        assert await health(node) == {"live": True, "ready": False, "primary": False}
        async with Stream(node, pusher) as stream:
            await stream.hello()
            assert await health(node) == {"live": True, "ready": True, "primary": False}
            coordinator.give_role("n1", epoch=7)
            await until(lambda: coordinator.heard["n1"].status.primary_epoch == 7, "the node to say it is primary")
            assert await health(node) == {"live": True, "ready": True, "primary": True}
            assert node.runner.as_of().epoch == 7
            # Silence: the node steps back by its own clock.
            coordinator.silent = True
            await until(lambda: node.runner.core.state is NodeState.PASSIVE, "the lease to end")
            assert await health(node) == {"live": True, "ready": True, "primary": False}
            # The coordinator is back, on a new stream once the old one was given up.
            coordinator.silent = False
            await until(lambda: node.runner.core.state is NodeState.PRIMARY, "the node to be primary again")
            coordinator.give_role("", epoch=7)
            await until(lambda: node.runner.core.state is NodeState.PASSIVE, "the node to be passive")
            # One that lost its memory is not believed.
            coordinator.give_role("n1", epoch=6)
            log = node.logs[NODE_LOG]
            await until(
                lambda: any("is not believed" in line for line in log.tail(20)), "the lower epoch to be refused"
            )
            assert node.runner.core.state is NodeState.PASSIVE


async def test_a_coordinator_that_comes_later_is_found(tmp_path: Path) -> None:
    async with fake_coordinator() as gone:
        address = gone.address
    async with fake_pusher() as pusher, running_node(tmp_path, coordinator=address) as node:
        async with Stream(node, pusher) as stream:
            await stream.hello()
        assert node.runner.core.state is NodeState.PASSIVE


async def test_a_draining_node_says_so(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, fake_coordinator() as coordinator:
        coordinator.cluster.paused = False
        async with (
            running_node(tmp_path, coordinator=coordinator.address, heartbeat_s=30.0, drain_notice_s=0.3) as node,
            Stream(node, pusher) as stream,
        ):
            await stream.hello()
            await until(lambda: node.runner.core.state is NodeState.PRIMARY, "the node to be primary")
        # At once, not with the next heartbeat of half a minute later.
        last = coordinator.heard["n1"].status
        assert (last.state, last.primary_epoch) == (coordinator_pb2.NODE_STATE_DRAINING, 0)


async def test_reflection_names_the_services(tmp_path: Path) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    async with running_node(tmp_path) as node:
        names: dict[str, set[str]] = {}
        for port, address in (("report", node.address.report), ("instant", node.address.instant)):
            async with open_channel(address) as channel:
                stub = reflection_pb2_grpc.ServerReflectionStub(channel)
                call = stub.ServerReflectionInfo()
                await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
                answer = await call.read()
                assert answer is not grpc.aio.EOF
                names[port] = {service.name for service in answer.list_services_response.service}
                call.cancel()
        assert "fasttree.v1.ReportService" in names["report"]
        assert {"fasttree.v1.TreeNodeService", "fasttree.v1.ImportSourceService"} <= names["instant"]


async def test_the_coordinator_hears_of_an_imports_end_at_once(tmp_path: Path) -> None:
    async with (
        fake_pusher() as pusher,
        fake_coordinator() as coordinator,
        running_node(tmp_path, coordinator=coordinator.address, heartbeat_s=600.0) as node,
        Stream(node, pusher) as stream,
    ):
        await stream.hello()
        await load_import(node, pusher, pusher.add_import(1, csv_of([("A", "", "10.00")]), 0))

        def heard_the_end() -> bool:
            status = coordinator.heard["n1"].status
            return status.import_id == 1 and status.loading_import_id == 0

        await until(heard_the_end, "the coordinator to hear that nothing is loaded any more")


async def test_a_heartbeat_that_can_not_be_made_ends_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        fake_coordinator() as coordinator,
        running_node(tmp_path, coordinator=coordinator.address, heartbeat_s=0.05) as node,
    ):
        await until(lambda: "n1" in coordinator.heard, "a heartbeat")

        def broken() -> coordinator_pb2.NodeStatus:
            raise RuntimeError("a defect")

        monkeypatch.setattr(node.runner, "status", broken)
        await until(node.background.failed.is_set, "the node to end")
        assert node.background.reason == "ended by a fault of its own: a defect"
