"""CoordinatorService over real gRPC, in this process, on a clock that the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.coordinator.app import Coordinator
from services.coordinator.election.events import Recorded
from services.coordinator.settings import CoordinatorSettings
from services.coordinator.stores.store import MemoryStore
from services.shared.config.sections import ClusterSettings
from services.shared.serving.channels import open_channel
from tests.fakes.clock import TurnedClock
from tests.fakes.heartbeats import DRAINING, Heartbeats

CLUSTER = ClusterSettings(name="dot-test")
SETTINGS = CoordinatorSettings(
    listen_host="127.0.0.1", port=0, http_port=0, watch_interval_s=0.05, hosts_file_interval_s=0.01
)
DEADLINE_S = 20.0


class Stage:
    """A coordinator, its clock, its store, and a channel to it."""

    def __init__(self) -> None:
        self.clock = TurnedClock()
        self.store = MemoryStore()
        self.coordinator: Coordinator
        self.channel: grpc.aio.Channel
        self.nodes: list[Heartbeats] = []

    async def start(self, cluster: ClusterSettings = CLUSTER) -> None:
        self.coordinator = await Coordinator.start(cluster, SETTINGS, self.store, clock=self.clock)
        self.channel = open_channel(f"127.0.0.1:{self.coordinator.server.port}")

    @property
    def stub(self) -> Any:
        return coordinator_pb2_grpc.CoordinatorServiceStub(self.channel)

    def node(self, name: str, **options: str) -> Heartbeats:
        self.nodes.append(Heartbeats(self.channel, name, **options))
        return self.nodes[-1]

    async def cluster(self) -> coordinator_pb2.Cluster:
        answer = await self.stub.GetCluster(coordinator_pb2.GetClusterRequest(), timeout=DEADLINE_S)
        assert isinstance(answer, coordinator_pb2.GetClusterResponse)
        return answer.cluster

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                if await condition():
                    return
                await asyncio.sleep(0.005)

    async def elect(self, *nodes: Heartbeats) -> None:
        """Lets the first lease time pass; the first of the nodes (the furthest) becomes primary."""
        nodes[0].position += 1
        for node in nodes:
            await node.talk()
        self.clock.turn(0.999)
        for node in nodes:
            await node.talk()
        self.clock.turn(0.001)
        answer = await nodes[0].answer()
        assert answer.role == coordinator_pb2.ROLE_PRIMARY
        await nodes[0].talk()

    async def stop(self) -> None:
        for node in self.nodes:
            await node.close()
        await self.channel.close()
        await self.coordinator.stop()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    await stage.start()
    yield stage
    await stage.stop()


async def refused(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_heartbeats_are_answered_and_the_furthest_is_elected(stage: Stage) -> None:
    a, b = stage.node("a"), stage.node("b")
    answer = await a.talk()
    assert (answer.role, answer.epoch, answer.lease_ms) == (coordinator_pb2.ROLE_PASSIVE, 0, 1000)
    await stage.elect(b, a)
    cluster = await stage.cluster()
    assert (cluster.primary, cluster.epoch, cluster.note) == ("b", 1, "")
    assert [(node.address.name, node.role, node.alive) for node in cluster.nodes] == [
        ("a", coordinator_pb2.ROLE_PASSIVE, True),
        ("b", coordinator_pb2.ROLE_PRIMARY, True),
    ]
    assert await stage.store.load() == Recorded(epoch=1, primary="b", primary_incarnation="b-1")
    assert (await a.talk()).primary == "b"


async def test_a_dead_stream_is_not_a_dead_node(stage: Stage) -> None:
    a, b = stage.node("a"), stage.node("b")
    await stage.elect(a, b)
    await a.close()
    await stage.until(lambda: _is_disconnected(stage, "a"))
    assert (await stage.cluster()).primary == "a"
    stage.clock.turn(0.9)
    await b.talk()
    assert (await stage.cluster()).primary == "a"
    stage.clock.turn(0.2)
    answer = await b.talk()
    if answer.role != coordinator_pb2.ROLE_PRIMARY:  # the grant follows when it is written down
        answer = await b.answer()
    assert (answer.role, answer.epoch) == (coordinator_pb2.ROLE_PRIMARY, 2)


async def _is_disconnected(stage: Stage, node: str) -> bool:
    lease = stage.coordinator.runner.core.leases.get(node)
    return lease is not None and not lease.connected


async def test_a_draining_primary_hands_over_without_a_wait(stage: Stage) -> None:
    a, b = stage.node("a"), stage.node("b")
    await stage.elect(a, b)
    await b.talk()
    a.primary_epoch = 0
    await a.send(DRAINING)
    answer = await b.answer()
    assert (answer.role, answer.epoch) == (coordinator_pb2.ROLE_PRIMARY, 2)


async def test_switchover_waits_for_the_exact_position(stage: Stage) -> None:
    a, b = stage.node("a"), stage.node("b")
    await stage.elect(a, b)
    a.position = b.position = 50
    a.position = 60
    a.live()
    b.live()
    call = stage.stub.Switchover(coordinator_pb2.SwitchoverRequest(to_node="b"), timeout=DEADLINE_S)
    await stage.until(lambda: _note_has(stage, "waits until it has caught up with a"))
    assert (await stage.cluster()).primary == "a"
    stage.clock.turn(0.05)
    b.position = 60
    done = await call
    assert (done.from_node, done.to_node, done.epoch) == ("a", "b", 2)
    assert (await stage.cluster()).primary == "b"
    assert a.primary_epoch == 0


async def _note_has(stage: Stage, text: str) -> bool:
    return text in (await stage.cluster()).note


async def test_an_operator_hears_why_not(stage: Stage) -> None:
    a = stage.node("a")
    await stage.elect(a)
    request = coordinator_pb2.SwitchoverRequest
    error = await refused(stage.stub.Switchover(request(to_node="x"), timeout=DEADLINE_S))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    error = await refused(stage.stub.Switchover(request(), timeout=DEADLINE_S))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "no other node is ready" in (error.details() or "")


async def test_pause_is_durable_and_stops_elections(stage: Stage) -> None:
    a = stage.node("a")
    await stage.stub.Pause(coordinator_pb2.PauseRequest(), timeout=DEADLINE_S)
    assert (await stage.store.load()).paused
    await a.talk()
    stage.clock.turn(5)
    await a.talk()
    cluster = await stage.cluster()
    assert (cluster.primary, cluster.paused) == ("", True)
    assert "elections are paused" in cluster.note
    await stage.stub.Resume(coordinator_pb2.ResumeRequest(), timeout=DEADLINE_S)
    assert (await a.answer()).role == coordinator_pb2.ROLE_PRIMARY


async def test_a_store_that_fails_is_told_and_tried_again(stage: Stage) -> None:
    stage.store.fault = "disk full"
    error = await refused(stage.stub.Pause(coordinator_pb2.PauseRequest(), timeout=DEADLINE_S))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "disk full" in (error.details() or "")
    a = stage.node("a")
    await a.talk()
    stage.clock.turn(1.5)
    assert (await a.talk()).role == coordinator_pb2.ROLE_PASSIVE
    await stage.until(lambda: _note_has(stage, "cannot write its state: disk full"))
    stage.store.fault = ""
    stage.clock.turn(0.5)
    answer = await a.talk()
    if answer.role != coordinator_pb2.ROLE_PRIMARY:
        answer = await a.answer()
    assert (answer.role, answer.epoch) == (coordinator_pb2.ROLE_PRIMARY, 2)  # epoch 1 may have been written


async def test_a_switchover_takes_nothing_from_a_primary_while_nothing_can_be_written(stage: Stage) -> None:
    a, b = stage.node("a"), stage.node("b")
    await stage.elect(a, b)
    b.position = a.position
    a.live()
    b.live()
    stage.store.fault = "disk full"
    error = await refused(_switch_to(stage, "b"))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "no switchover to b: the coordinator cannot write its state: disk full" in (error.details() or "")
    cluster = await stage.cluster()
    assert (cluster.primary, cluster.epoch, a.primary_epoch) == ("a", 1, 1)
    stage.store.fault = ""
    stage.clock.turn(0.3)
    assert (await _switch_to(stage, "b")).epoch == 2


async def _switch_to(stage: Stage, node: str) -> coordinator_pb2.SwitchoverResponse:
    call = stage.stub.Switchover(coordinator_pb2.SwitchoverRequest(to_node=node), timeout=DEADLINE_S)
    await stage.until(lambda: _note_has(stage, "waits until it has caught up"))
    stage.clock.turn(0.05)
    done: coordinator_pb2.SwitchoverResponse = await call
    return done


async def test_a_write_that_only_seemed_to_fail_counts(stage: Stage) -> None:
    a = stage.node("a")
    await a.talk()
    stage.store.fault, stage.store.fault_after_write = "no answer", True
    stage.clock.turn(0.9)
    await a.talk()
    stage.clock.turn(0.1)
    assert (await a.answer()).epoch == 1


async def test_another_active_coordinator_ends_this_one(stage: Stage) -> None:
    await stage.store.save(Recorded(epoch=9, primary="z"), Recorded())
    call = stage.stub.Pause(coordinator_pb2.PauseRequest(), timeout=DEADLINE_S)
    async with asyncio.timeout(DEADLINE_S):
        await stage.coordinator.background.failed.wait()
    assert stage.coordinator.background.reason.startswith("another coordinator is active")
    call.cancel()


async def test_a_write_that_fails_otherwise_ends_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Recorded) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(stage.store, "save", broken)
    call = stage.stub.Pause(coordinator_pb2.PauseRequest(), timeout=DEADLINE_S)
    async with asyncio.timeout(DEADLINE_S):
        await stage.coordinator.background.failed.wait()
    assert "a defect" in stage.coordinator.background.reason
    call.cancel()


async def test_a_defect_in_a_stream_is_told_to_the_node(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(stage.coordinator.runner, "attach", broken)
    assert (await refused(stage.node("a").talk())).code() is grpc.StatusCode.INTERNAL


async def test_two_processes_of_one_name(stage: Stage) -> None:
    a = stage.node("a")
    await stage.elect(a)
    other = stage.node("a", incarnation="a-2")
    error = await refused(other.talk())
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert (await a.talk()).role == coordinator_pb2.ROLE_PRIMARY


async def test_a_newer_stream_of_a_process_ends_the_older(stage: Stage) -> None:
    a = stage.node("a")
    await a.talk()
    older = a._call
    a.open()
    await a.talk()
    assert await older.code() is grpc.StatusCode.ABORTED
    assert (await stage.cluster()).nodes[0].alive


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"cluster": "dot-live"}, grpc.StatusCode.FAILED_PRECONDITION),
        ({"name": "a b"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"incarnation": "x" * 65}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"sequence": -1}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=["another cluster", "name", "incarnation", "sequence 0"],
)
async def test_heartbeats_that_cannot_be(stage: Stage, change: dict[str, Any], code: grpc.StatusCode) -> None:
    node = stage.node("a")
    for field, value in change.items():
        setattr(node, field, value)
    assert (await refused(node.talk())).code() is code


async def test_watchers_hear_each_change_and_in_between(stage: Stage) -> None:
    watch = stage.stub.WatchCluster(coordinator_pb2.WatchClusterRequest(), timeout=DEADLINE_S)
    first = (await watch.read()).cluster
    assert (first.name, list(first.nodes)) == ("dot-test", [])
    a, b = stage.node("a"), stage.node("b")
    await stage.elect(a, b)
    primaries = set()
    while "a" not in primaries:
        primaries.add((await watch.read()).cluster.primary)
    assert primaries == {"", "a"}
    for _ in range(3):  # nothing changes, and it is told all the same
        assert (await watch.read()).cluster.primary == "a"
    watch.cancel()


async def test_more_than_64_watchers_are_refused_until_one_goes(stage: Stage) -> None:
    watches = [stage.stub.WatchCluster(coordinator_pb2.WatchClusterRequest(), timeout=60) for _ in range(64)]
    for watch in watches:
        assert (await watch.read()).cluster.name == "dot-test"
    error = await refused(stage.stub.WatchCluster(coordinator_pb2.WatchClusterRequest(), timeout=DEADLINE_S).read())
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "raise coordinator.watchers_max" in str(error.details())
    watches.pop().cancel()

    async def is_taken() -> bool:
        watch = stage.stub.WatchCluster(coordinator_pb2.WatchClusterRequest(), timeout=DEADLINE_S)
        try:
            return bool(await watch.read())
        except grpc.aio.AioRpcError:
            return False
        finally:
            watch.cancel()

    await stage.until(is_taken)
    for watch in watches:
        watch.cancel()


async def test_the_host_files_order_is_followed(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.50201"
    hosts.write_text("b 50100 50201\na 50100 50201\n")
    stage = Stage()
    cluster = ClusterSettings(name="dot-test", hosts_file=str(hosts))
    await stage.start(cluster)
    for name in ("a", "b", "c"):
        await stage.node(name).talk()
    view = await stage.cluster()
    assert [node.address.name for node in view.nodes] == ["b", "a", "c"]
    assert (list(view.hosts), [node.host for node in view.nodes]) == (
        ["b:50100", "a:50100"],
        ["b:50100", "a:50100", ""],
    )
    hosts.write_text("nonsense\n")
    await asyncio.sleep(0.05)
    hosts.write_text("c 50100 50201\na 50100 50201\n")

    async def reordered() -> bool:
        return [node.address.name for node in (await stage.cluster()).nodes] == ["c", "a", "b"]

    await stage.until(reordered)
    await stage.stop()


async def test_health_reflection_and_metrics(stage: Stage) -> None:
    await stage.elect(stage.node("a"))
    health = health_pb2_grpc.HealthStub(stage.channel)
    for name in ("", "ready"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=DEADLINE_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(stage.channel)
    call = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    services = {service.name for service in (await call.read()).list_services_response.service}
    assert "fasttree.v1.CoordinatorService" in services
    async with aiohttp.ClientSession(f"http://127.0.0.1:{stage.coordinator.http.port}") as http:
        for path in ("/livez", "/readyz"):
            async with http.get(path) as response:
                assert response.status == 200
        async with http.get("/metrics") as response:
            text = await response.text()
    assert "fasttree_coordinator_epoch 1.0" in text
    assert 'fasttree_coordinator_node_primary{node="a"} 1.0' in text
