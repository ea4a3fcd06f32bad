"""Coordinators as processes beside a real API server: who is active, which nodes there are, and the pods' labels."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import grpc.aio
import pytest

from bench.cluster.cluster import free_port
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.shared.kubernetes.access import ServiceAccount
from services.shared.kubernetes.api import KubernetesApi
from services.shared.serving.channels import open_channel
from tests.fakes.api_server import Object, endpoint_slice
from tests.fakes.heartbeats import Heartbeats
from tests.kubernetes.control_plane import ControlPlane
from tests.waiting import until

NAMESPACE = "coordinators"


def pod(name: str) -> Object:
    metadata = {"name": name, "labels": {"app.kubernetes.io/name": "fasttree"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }


def slice_of_pods(*pods: str) -> Object:
    about = endpoint_slice("nodes", list(pods))
    about["metadata"]["name"] = "nodes-x1"
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", **about}


class OneOfSeveral:
    """`python -m services.coordinator` as in a pod of that name."""

    def __init__(self, plane: ControlPlane, folder: Path, name: str) -> None:
        account = folder / "account"
        account.mkdir(parents=True)
        (account / "token").write_text(plane.token)
        (account / "ca.crt").write_text(Path(plane.ca_file).read_text())
        (account / "namespace").write_text(NAMESPACE)
        self.address = f"127.0.0.1:{free_port()}"
        settings = {
            "cluster.name": "dot-test",
            "cluster.nodes_service": "nodes",
            "cluster.service_account_folder": account,
            "coordinator.store": "kubernetes",
            "coordinator.name": name,
            "coordinator.port": self.address.rpartition(":")[2],
            "coordinator.http_port": free_port(),
            "coordinator.lease_s": 10,
            "coordinator.state_folder": folder / "state",
        }
        host, _, port = plane.url.rpartition("/")[2].rpartition(":")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "services.coordinator"),
                *(word for name, value in settings.items() for word in ("--set", f"{name}={value}")),
            ],
            env={**os.environ, "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port},
        )

    async def view(self) -> coordinator_pb2.Cluster | None:
        """The cluster, where this one is active."""
        async with open_channel(self.address) as channel:
            stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
            try:
                answer = await stub.GetCluster(coordinator_pb2.GetClusterRequest(), timeout=5.0)
            except grpc.aio.AioRpcError:
                return None
        return answer.cluster

    async def sees(self, *hosts: str) -> bool:
        view = await self.view()
        return view is not None and tuple(view.hosts) == hosts


async def labels(api: KubernetesApi) -> dict[str, str]:
    listed = await api.get(f"/api/v1/namespaces/{NAMESPACE}/pods")
    return {
        each["metadata"]["name"]: each["metadata"]["labels"].get("fasttree.io/role", "") for each in listed["items"]
    }


@pytest.mark.timeout(600)
async def test_one_acts_and_another_takes_over(control_plane: ControlPlane, tmp_path: Path) -> None:
    def apply(*objects: Object) -> None:
        control_plane.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))

    control_plane.kubectl("create", "namespace", NAMESPACE)
    account: Object = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    apply(account, *map(pod, ("nodes-0", "nodes-1", "c-0", "c-1")), slice_of_pods("nodes-0", "nodes-1"))
    coordinators = [OneOfSeveral(control_plane, tmp_path / name, name) for name in ("c-0", "c-1")]
    nodes: tuple[str, ...] = ("nodes-0.nodes:50100", "nodes-1.nodes:50100")
    api = KubernetesApi(control_plane.url, ServiceAccount(tmp_path / "c-0" / "account"), 10.0)
    try:

        async def active() -> OneOfSeveral | None:
            found = [each for each in coordinators if await each.sees(*nodes)]
            assert len(found) <= 1
            return found[0] if found else None

        await until(active, "one of them to act, and to see the nodes")
        first = await active()
        assert first is not None
        async with open_channel(first.address) as channel:
            node = Heartbeats(channel, "nodes-1")
            node.live()

            async def is_labelled() -> bool:
                return (await labels(api))["nodes-1"] == "primary"

            await until(is_labelled, "the primary's label")
            await node.close()
        apply(slice_of_pods("nodes-0", "nodes-1", "nodes-2"))
        nodes = (*nodes, "nodes-2.nodes:50100")
        await until(active, "the third node")

        first.process.kill()
        second = next(each for each in coordinators if each is not first)
        await until(lambda: second.sees(*nodes), "the other one to act")
        async with open_channel(second.address) as channel:
            again = Heartbeats(channel, "nodes-1")
            again.primary_epoch, again.sequence = node.primary_epoch, node.sequence
            again.live()

            async def goes_on() -> bool:
                view = await second.view()
                return view is not None and (view.primary, view.epoch) == ("nodes-1", 1)

            await until(goes_on, "the primary to go on in its epoch")
            await again.close()
        names = {coordinators[0]: "c-0", coordinators[1]: "c-1"}
        expected = {"nodes-0": "passive", "nodes-1": "primary", names[first]: "standby", names[second]: "active"}

        async def are_labelled() -> bool:
            return await labels(api) == expected

        await until(are_labelled, "every label")
    finally:
        await api.close()
        for each in coordinators:
            each.process.kill()
            await asyncio.to_thread(each.process.wait)
