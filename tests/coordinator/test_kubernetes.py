"""Coordinators in Kubernetes, over a stand-in of the API server: which nodes there are, the pods' labels, and turns."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from bench.cluster.cluster import free_port
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.coordinator.app import Coordinator, start_one_of_several
from services.coordinator.leadership.leadership import State
from services.coordinator.leadership.runner import LeadershipRunner
from services.coordinator.role_labels.labels import LABEL
from services.coordinator.settings import CoordinatorSettings
from services.coordinator.stores.lease import ANNOTATION
from services.coordinator.stores.store import MemoryStore
from services.shared.config.sections import ClusterSettings
from services.shared.serving.channels import open_channel
from tests.fakes.api_server import FakeApiServer, endpoint_slice, fake_api_server, service_account
from tests.fakes.heartbeats import Heartbeats
from tests.waiting import until

SLICE = "/apis/discovery.k8s.io/v1/namespaces/fasttree/endpointslices/nodes-x1"
PODS = "/api/v1/namespaces/fasttree/pods"


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApiServer]:
    async with fake_api_server() as running:
        monkeypatch.setattr("services.shared.kubernetes.api.api_server", lambda: running.url)
        for pod in ("nodes-0", "nodes-1", "coordinator-0", "coordinator-1", "envoy-0"):
            running.put(f"{PODS}/{pod}", {"metadata": {"labels": {"app.kubernetes.io/name": "fasttree"}}})
        running.put(SLICE, endpoint_slice("nodes", ["nodes-0", "nodes-1"]))
        yield running


def labels(server: FakeApiServer) -> dict[str, str]:
    pods = {path.rpartition("/")[2]: about for path, about in server.objects.items() if path.startswith(PODS)}
    return {name: about["metadata"]["labels"].get(LABEL, "") for name, about in pods.items()}


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Coordinator]:
    account = service_account(folder / "account")
    cluster = ClusterSettings(name="dot-test", nodes_service="nodes", service_account_folder=str(account))
    settings = CoordinatorSettings.of(name="coordinator-0", port=0, http_port=0, lease_s=5.0)
    coordinator = await Coordinator.start(cluster, settings, MemoryStore())
    try:
        yield coordinator
    finally:
        await coordinator.stop()
        assert coordinator.background.error is None


async def test_labels_follow_the_primary_whatever_becomes_of_them(server: FakeApiServer, tmp_path: Path) -> None:
    async with running(tmp_path) as coordinator, open_channel(f"127.0.0.1:{coordinator.server.port}") as channel:
        nothing = {"coordinator-0": "active", "coordinator-1": "standby", "envoy-0": ""}
        await until(lambda: labels(server)["nodes-1"] == "passive", "the first labels")
        assert labels(server) == {"nodes-0": "passive", "nodes-1": "passive", **nothing}
        node = Heartbeats(channel, "nodes-1")
        node.live()
        await until(lambda: labels(server)["nodes-1"] == "primary", "the primary's label")
        assert labels(server) == {"nodes-0": "passive", "nodes-1": "primary", **nothing}

        # Somebody else's hand, and an API server that was away: put right without a change of roles.
        server.fault = lambda method, path: 500 if method == "PATCH" else None
        server.objects[f"{PODS}/nodes-0"]["metadata"]["labels"][LABEL] = "primary"
        await until(lambda: ("PATCH", f"{PODS}/nodes-0") in server.asked[-20:], "a try")
        server.fault = None
        await until(lambda: labels(server)["nodes-0"] == "passive", "the label put right")
        await node.close()


async def test_nodes_are_as_the_service_has_them(server: FakeApiServer, tmp_path: Path) -> None:
    async with running(tmp_path) as coordinator:
        core = coordinator.runner.core
        await until(lambda: core.hosts_order == ("nodes-0.nodes:50100", "nodes-1.nodes:50100"), "both nodes")
        server.put(SLICE, endpoint_slice("nodes", ["nodes-0", "nodes-1", "nodes-2"]))
        await until(lambda: len(core.hosts_order) == 3, "the third")


async def test_without_the_right_to_label_nothing_else_stops(
    server: FakeApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.fault = lambda method, path: 403 if "/pods" in path else None
    async with running(tmp_path) as coordinator:
        await until(lambda: "role labels stay as they are" in caplog.text, "the complaint")
        assert "docs/kubernetes.md" in caplog.text
        await until(lambda: len(coordinator.runner.core.hosts_order) == 2, "the nodes")
        await asyncio.sleep(0)
        assert not coordinator.background.failed.is_set()


# ---- several coordinators --------------------------------------------------------------------------------------------

LEASE = "/apis/coordination.k8s.io/v1/namespaces/fasttree/leases/fasttree-coordinator"


@asynccontextmanager
async def one_of_several(folder: Path, name: str) -> AsyncIterator[tuple[LeadershipRunner, str]]:
    """A coordinator beside others, and its address; stopped in good order at the end, unless that happened before."""
    account = service_account(folder / "account")
    cluster = ClusterSettings(name="dot-test", nodes_service="nodes", service_account_folder=str(account))
    port = free_port()
    settings = CoordinatorSettings.of(
        name=name, store="kubernetes", port=port, http_port=free_port(), lease_s=5.0, state_folder=str(folder)
    )
    runner = await start_one_of_several(cluster, settings)
    try:
        yield runner, f"127.0.0.1:{port}"
    finally:
        await runner.stop()
        assert runner.background.error is None


async def asked(address: str) -> coordinator_pb2.Cluster | str:
    """The cluster as the coordinator there says, or why it does not."""
    async with open_channel(address) as channel:
        stub: Any = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        try:
            answer = await stub.GetCluster(coordinator_pb2.GetClusterRequest(), timeout=10.0)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
    cluster: coordinator_pb2.Cluster = answer.cluster
    return cluster


async def is_active(address: str) -> bool:
    return not isinstance(await asked(address), str)


async def test_one_acts_and_the_other_says_which(server: FakeApiServer, tmp_path: Path) -> None:
    server.put(LEASE, {"spec": {}})
    async with AsyncExitStack() as first:
        _, address = await first.enter_async_context(one_of_several(tmp_path, "coordinator-0"))
        await until(lambda: is_active(address), "the first one to act")
        await until(lambda: labels(server)["coordinator-0"] == "active", "its label")
        async with one_of_several(tmp_path, "coordinator-1") as (second, other):
            says = "UNAVAILABLE: this coordinator stands by: coordinator-0 is active"

            async def told() -> bool:
                return await asked(other) == says

            await until(told, "the second one to say who is active")
            await until(lambda: labels(server)["coordinator-1"] == "standby", "its label")
            async with open_channel(other) as channel:
                stub: Any = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
                for call in (stub.WatchCluster(coordinator_pb2.WatchClusterRequest()), stub.KeepAlive()):
                    with pytest.raises(grpc.aio.AioRpcError, match="stands by"):
                        await call.read()
                for asked_for in (
                    stub.Pause(coordinator_pb2.PauseRequest()),
                    stub.Resume(coordinator_pb2.ResumeRequest()),
                ):
                    with pytest.raises(grpc.aio.AioRpcError, match="stands by"):
                        await asked_for

            async with open_channel(address) as channel:
                node = Heartbeats(channel, "nodes-1")
                node.live()
                await until(lambda: node.primary_epoch, "a primary")
                epoch = node.primary_epoch
                await node.close()
            # The first one ends in good order: the next one acts at once, and the primary goes on in its epoch.
            await first.aclose()
            await until(lambda: is_active(other), "the second one to act")
            async with open_channel(other) as channel:
                again = Heartbeats(channel, "nodes-1")
                again.primary_epoch, again.sequence = node.primary_epoch, node.sequence
                again.live()

                async def goes_on() -> bool:
                    view = await asked(other)
                    return isinstance(view, coordinator_pb2.Cluster) and (view.primary, view.epoch) == (
                        "nodes-1",
                        epoch,
                    )

                await until(goes_on, "the primary to go on in its epoch")
                assert labels(server)["nodes-1"] == "primary"
                await again.close()
            await until(lambda: labels(server)["coordinator-0"] == "standby", "the first one's label")
            assert second.core.state is State.ACTIVE
    assert server.objects[LEASE]["spec"].get("holderIdentity") is None


async def test_without_the_api_server_it_stands_by_and_comes_back(server: FakeApiServer, tmp_path: Path) -> None:
    server.put(LEASE, {"spec": {}})
    async with one_of_several(tmp_path, "coordinator-0") as (runner, address):
        await until(lambda: is_active(address), "it to act")
        await server.stop()

        async def gave_up() -> bool:
            told = await asked(address)
            return isinstance(told, str) and "can't see which one is active" in told

        await until(gave_up, "it to step down, and to say why")
        await server.start()
        await until(lambda: is_active(address), "it to act again")
        assert runner.core.term == 2


async def test_who_takes_the_lease_ends_the_others_turn(server: FakeApiServer, tmp_path: Path) -> None:
    server.put(LEASE, {"spec": {}})
    async with one_of_several(tmp_path, "coordinator-0") as (runner, address):
        await until(lambda: is_active(address), "it to act")
        lease = copy.deepcopy(server.objects[LEASE])
        lease["spec"]["holderIdentity"] = "coordinator-9_x"
        server.put(LEASE, lease)

        async def says_who() -> bool:
            return "coordinator-9 is active" in str(await asked(address))

        await until(says_who, "it to stand by")
        assert runner.core.term == 1


async def test_another_clusters_lease_is_left_alone(server: FakeApiServer, tmp_path: Path) -> None:
    record = {"cluster": "dot-live", "epoch": 7, "primary": "a", "primary_incarnation": "a1", "paused": False}
    before = server.put(LEASE, {"metadata": {"annotations": {ANNOTATION: json.dumps(record)}}, "spec": {}})
    async with one_of_several(tmp_path, "coordinator-0") as (runner, _):
        await until(lambda: "belongs to cluster" in runner.core.problem, "the complaint")
        assert "set another coordinator.lease_name" in runner.core.problem
    assert server.objects[LEASE] == before
