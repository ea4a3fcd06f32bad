"""What a coordinator owes to nodes, watchers and operators: the real one, and the fake that stands in for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.coordinator.app import Coordinator
from services.coordinator.settings import CoordinatorSettings
from services.coordinator.stores.store import MemoryStore
from services.shared.config.sections import ClusterSettings
from services.shared.serving.channels import open_channel
from tests.fakes.coordinator import FakeCoordinator
from tests.fakes.heartbeats import DRAINING, Heartbeats
from tests.fakes.server import CLUSTER
from tests.waiting import until

LOADING = coordinator_pb2.NODE_STATE_LOADING


class Stage:
    """A channel to a coordinator, and the nodes that speak to it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self.stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        self.nodes: list[Heartbeats] = []

    def node(self, name: str, *, incarnation: str = "", cluster: str = CLUSTER) -> Heartbeats:
        self.nodes.append(Heartbeats(self._channel, name, incarnation=incarnation, cluster=cluster))
        return self.nodes[-1]

    async def cluster(self) -> coordinator_pb2.Cluster:
        return (await self.stub.GetCluster(coordinator_pb2.GetClusterRequest())).cluster

    async def primary(self) -> str:
        return (await self.cluster()).primary

    async def with_primary(self) -> tuple[Heartbeats, Heartbeats]:
        """`a` is primary, `b` is passive, and both go on beating."""
        a, b = self.node("a"), self.node("b")
        a.live()
        await until(lambda: self.is_primary("a"), "the first election")
        b.live()
        await until(self.all_known, "the second node")
        return a, b

    async def is_primary(self, name: str) -> bool:
        return await self.primary() == name

    async def all_known(self) -> bool:
        return {node.address.name for node in (await self.cluster()).nodes} == {node.name for node in self.nodes}

    async def switchover(self, to_node: str = "") -> coordinator_pb2.SwitchoverResponse:
        return await self.stub.Switchover(coordinator_pb2.SwitchoverRequest(to_node=to_node))


@pytest.fixture(params=["fake", "real"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    fake, real = FakeCoordinator(), None
    if request.param == "real":
        settings = CoordinatorSettings(listen_host="127.0.0.1", port=0, http_port=0)
        real = await Coordinator.start(ClusterSettings(name=CLUSTER), settings, MemoryStore())
    else:
        await fake.start()
    async with open_channel(f"127.0.0.1:{real.server.port}" if real else fake.address) as channel:
        stage = Stage(channel)
        yield stage
        for node in stage.nodes:
            await node.close()
    await (real or fake).stop()


async def refusal(stage: Stage, to_node: str = "") -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stage.switchover(to_node)
    assert caught.value.details()
    return caught.value.code()


async def test_each_heartbeat_is_answered_with_a_lease(stage: Stage) -> None:
    node = stage.node("a")
    for sequence in (1, 2, 3):
        answer = await node.talk(LOADING)
        assert (answer.sequence, answer.role, answer.epoch) == (sequence, coordinator_pb2.ROLE_PASSIVE, 0)
        assert answer.lease_ms > 0


async def test_a_ready_node_is_elected_and_everybody_hears_of_it(stage: Stage) -> None:
    a, b = await stage.with_primary()
    await until(lambda: a.primary_epoch > 0, "the primary to know")
    cluster = await stage.cluster()
    assert (cluster.name, cluster.primary, cluster.epoch, cluster.paused) == (CLUSTER, "a", a.primary_epoch, False)
    roles = {node.address.name: node.role for node in cluster.nodes}
    assert roles == {"a": coordinator_pb2.ROLE_PRIMARY, "b": coordinator_pb2.ROLE_PASSIVE}
    assert all(node.alive for node in cluster.nodes)
    await until(lambda: b.known_epoch == cluster.epoch, "the other to know")
    assert b.primary_epoch == 0


async def test_a_node_that_is_not_ready_is_not_elected(stage: Stage) -> None:
    loading, ready = stage.node("a"), stage.node("b")
    await loading.talk(LOADING)
    ready.live()
    await until(lambda: stage.is_primary("b"), "the election")
    assert (await loading.talk(LOADING)).role == coordinator_pb2.ROLE_PASSIVE


async def test_a_node_that_is_not_ready_hears_how_far_the_ready_ones_of_its_log_are(stage: Stage) -> None:
    behind, ready, other_log = stage.node("a"), stage.node("b"), stage.node("c")
    ready.position, other_log.position, other_log.log_id = 5, 9, "another log"
    assert (await behind.talk(LOADING)).others_ready.position == 0
    ready.live()
    other_log.live()
    await until(stage.all_known, "the others to be heard")

    async def is_told() -> bool:
        told = (await behind.talk(LOADING)).others_ready
        return (told.complete, told.import_id, told.position) == (True, 1, 5)

    await until(is_told, "all of them to count")
    behind.log_id = ""
    assert (await behind.talk(LOADING)).others_ready.import_id == 0
    assert not (await behind.talk()).HasField("others_ready")


async def test_a_primary_that_drains_is_replaced_in_a_higher_epoch(stage: Stage) -> None:
    a, _ = await stage.with_primary()
    await until(lambda: a.primary_epoch > 0, "the primary to know")
    epoch = (await stage.cluster()).epoch
    await a.close()
    a.primary_epoch = 0
    await a.talk(DRAINING)
    await until(lambda: stage.is_primary("b"), "the other to be primary")
    assert (await stage.cluster()).epoch > epoch
    assert (await a.talk(DRAINING)).role == coordinator_pb2.ROLE_PASSIVE


async def test_heartbeats_that_do_not_belong_here(stage: Stage) -> None:
    for node, code in (
        (stage.node("a", cluster="another"), grpc.StatusCode.FAILED_PRECONDITION),
        (stage.node(""), grpc.StatusCode.INVALID_ARGUMENT),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await node.talk()
        assert caught.value.code() is code
    unnumbered = stage.node("b")
    unnumbered.sequence = -1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unnumbered.talk()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list((await stage.cluster()).nodes) == []


async def test_a_name_belongs_to_one_process(stage: Stage) -> None:
    await stage.node("a", incarnation="first").talk()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stage.node("a", incarnation="second").talk()
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS


async def test_watchers_hear_at_once_and_of_changes(stage: Stage) -> None:
    call = stage.stub.WatchCluster(coordinator_pb2.WatchClusterRequest())

    async def next_view() -> coordinator_pb2.Cluster:
        response = await call.read()
        assert isinstance(response, coordinator_pb2.WatchClusterResponse)
        return response.cluster

    assert list((await next_view()).nodes) == []
    await stage.node("a").talk(LOADING)
    while not (seen := await next_view()).nodes:
        pass
    assert [node.address.name for node in seen.nodes] == ["a"]
    call.cancel()


async def test_a_switchover_makes_another_node_primary(stage: Stage) -> None:
    a, b = await stage.with_primary()
    epoch = (await stage.cluster()).epoch
    done = await stage.switchover("b")
    assert (done.from_node, done.to_node) == ("a", "b")
    assert done.epoch > epoch
    assert await stage.primary() == "b"
    await until(lambda: b.primary_epoch == done.epoch and not a.primary_epoch, "both to know")
    # The same wish again changes nothing.
    again = await stage.switchover("b")
    assert (again.from_node, again.to_node, again.epoch) == ("b", "b", done.epoch)
    # Without a name: to whoever else is ready.
    back = await stage.switchover()
    assert (back.from_node, back.to_node) == ("b", "a")


async def test_a_switchover_that_cannot_be(stage: Stage) -> None:
    assert await refusal(stage) is grpc.StatusCode.FAILED_PRECONDITION
    assert await refusal(stage, "nobody") is grpc.StatusCode.NOT_FOUND
    a = stage.node("a")
    a.live()
    await until(lambda: stage.is_primary("a"), "the first election")
    assert await refusal(stage) is grpc.StatusCode.FAILED_PRECONDITION
    await stage.node("b").talk(LOADING)
    assert await refusal(stage, "b") is grpc.StatusCode.FAILED_PRECONDITION
    assert await stage.primary() == "a"


async def test_while_paused_nobody_is_elected(stage: Stage) -> None:
    await stage.stub.Pause(coordinator_pb2.PauseRequest())
    assert (await stage.cluster()).paused
    node = stage.node("a")
    node.live()
    await until(stage.all_known, "the node")
    assert await refusal(stage, "a") is grpc.StatusCode.FAILED_PRECONDITION
    assert await stage.primary() == ""
    await stage.stub.Resume(coordinator_pb2.ResumeRequest())
    assert not (await stage.cluster()).paused
    await until(lambda: stage.is_primary("a"), "the election")
