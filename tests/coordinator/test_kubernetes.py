"""A coordinator in Kubernetes, over a stand-in of the API server: which nodes there are, and the pods' labels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.coordinator.app import Coordinator
from services.coordinator.role_labels.labels import LABEL
from services.coordinator.settings import CoordinatorSettings
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
