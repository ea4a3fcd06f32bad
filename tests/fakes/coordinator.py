"""A coordinator whose cluster is one message, which a test may change as it likes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.shared.config.hosts_file import read_hosts_file
from services.shared.serving.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    FastTreeError,
    InvalidArgumentError,
    NotFoundError,
)
from tests.fakes.server import CLUSTER, Fake

_READY = (coordinator_pb2.NODE_STATE_PASSIVE, coordinator_pb2.NODE_STATE_PRIMARY)

_Answers = asyncio.Queue[coordinator_pb2.KeepAliveResponse | FastTreeError | None]


class FakeCoordinator(coordinator_pb2_grpc.CoordinatorServiceServicer, Fake):
    """Takes every node that it heard once for alive, for ever; elects the first ready one, at once."""

    adders = (coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server,)

    def __init__(self) -> None:
        super().__init__()
        #: What everybody is told. After a change from outside: `tell_watchers`.
        self.cluster = coordinator_pb2.Cluster(name=CLUSTER)
        self.lease_ms = 1_000
        #: Read at each look at the cluster.
        self.hosts_file: Path | None = None
        #: Hears heartbeats, and answers none.
        self.silent = False
        #: The newest heartbeat of each node, by name.
        self.heard: dict[str, coordinator_pb2.KeepAliveRequest] = {}
        #: Ends each watch after so many messages, as a network does.
        self.break_watches_after: int | None = None
        self.watches = 0
        self._streams: dict[str, _Answers] = {}
        self._changed = asyncio.Event()

    def add_node(self, name: str, state: coordinator_pb2.NodeState.ValueType, **status: Any) -> None:
        """A node, as if it had been heard."""
        self.cluster.nodes.add(
            address=coordinator_pb2.NodeAddress(name=name, report=f"{name}:50100", instant=f"{name}:50201"),
            status=coordinator_pb2.NodeStatus(state=state, **status),
            role=coordinator_pb2.ROLE_PASSIVE,
            alive=True,
        )

    def tell_watchers(self) -> None:
        """Says the cluster anew to everybody who watches it."""
        self._changed.set()
        self._changed = asyncio.Event()

    def give_role(self, name: str, epoch: int | None = None) -> None:
        """Makes a node primary (empty: nobody), in the next epoch where none is given; tells all nodes unasked."""
        self.cluster.epoch = self.cluster.epoch + 1 if epoch is None else epoch
        self.cluster.primary = name
        for node in self.cluster.nodes:
            node.role = self._role(node.address.name)
        for connected in self._streams:
            self._answer(connected)
        self.tell_watchers()

    def _role(self, name: str) -> coordinator_pb2.Role.ValueType:
        return coordinator_pb2.ROLE_PRIMARY if name == self.cluster.primary else coordinator_pb2.ROLE_PASSIVE

    # -- heartbeats

    async def KeepAlive(
        self, requests: AsyncIterator[coordinator_pb2.KeepAliveRequest], context: Any
    ) -> AsyncIterator[coordinator_pb2.KeepAliveResponse]:
        answers: _Answers = asyncio.Queue()
        hearing = asyncio.create_task(self._hear(requests, answers))
        try:
            while (answer := await answers.get()) is not None:
                if isinstance(answer, FastTreeError):
                    raise answer
                yield answer
        finally:
            hearing.cancel()

    async def _hear(self, requests: AsyncIterator[coordinator_pb2.KeepAliveRequest], answers: _Answers) -> None:
        name = ""
        try:
            async for request in requests:
                self._check(request)
                name = request.node.name
                self._streams[name] = answers
                self._take(request)
                self._answer(name)
            answers.put_nowait(None)
        except FastTreeError as error:
            answers.put_nowait(error)
        finally:
            if self._streams.get(name) is answers:
                del self._streams[name]

    def _check(self, request: coordinator_pb2.KeepAliveRequest) -> None:
        if request.cluster != CLUSTER:
            raise FailedPreconditionError(f"this is the coordinator of cluster {CLUSTER}", field="cluster")
        if not request.node.name or not request.incarnation or not request.sequence:
            raise InvalidArgumentError("name, incarnation and sequence must be set", field="node.name")
        name, known = request.node.name, self.heard.get(request.node.name)
        if name in self._streams and known is not None and known.incarnation != request.incarnation:
            raise AlreadyExistsError(f"another process holds the name {name}", field="node.name", value=name)

    def _take(self, request: coordinator_pb2.KeepAliveRequest) -> None:
        name = request.node.name
        self.heard[name] = request
        node = (
            next((node for node in self.cluster.nodes if node.address.name == name), None) or self.cluster.nodes.add()
        )
        before = (node.status.state, node.status.import_id)
        node.address.CopyFrom(request.node)
        node.status.CopyFrom(request.status)
        node.role, node.alive = self._role(name), True
        if name == self.cluster.primary and request.status.state not in _READY:
            self.give_role("", self.cluster.epoch)
        ready = [node.address.name for node in self.cluster.nodes if node.status.state in _READY]
        if ready and not self.cluster.primary and not self.cluster.paused:
            self.give_role(ready[0])
        elif (request.status.state, request.status.import_id) != before:
            self.tell_watchers()

    def _answer(self, name: str) -> None:
        if not self.silent and name in self._streams:
            self._streams[name].put_nowait(
                coordinator_pb2.KeepAliveResponse(
                    sequence=self.heard[name].sequence,
                    role=self._role(name),
                    epoch=self.cluster.epoch,
                    lease_ms=self.lease_ms,
                    primary=self.cluster.primary,
                    others_ready=self._ready_beside(self.heard[name]),
                )
            )

    def _ready_beside(self, request: coordinator_pb2.KeepAliveRequest) -> coordinator_pb2.OthersReady | None:
        if request.status.state in _READY:
            return None
        others = [node.status for node in self.cluster.nodes if node.address.name != request.node.name]
        ready = [other for other in others if other.state in _READY and other.log_id == request.status.log_id != ""]
        return coordinator_pb2.OthersReady(
            complete=True,
            import_id=max((other.import_id for other in ready), default=0),
            position=max((other.position for other in ready), default=0),
        )

    # -- those who look, and an operator's wishes

    async def GetCluster(
        self, request: coordinator_pb2.GetClusterRequest, context: Any
    ) -> coordinator_pb2.GetClusterResponse:
        if self.hosts_file is not None:
            self.cluster.hosts[:] = [host.report_address for host in read_hosts_file(self.hosts_file)]
            for node in self.cluster.nodes:
                node.host = node.address.report if node.address.report in self.cluster.hosts else ""
        return coordinator_pb2.GetClusterResponse(cluster=self.cluster)

    async def WatchCluster(
        self, request: coordinator_pb2.WatchClusterRequest, context: Any
    ) -> AsyncIterator[coordinator_pb2.WatchClusterResponse]:
        self.watches += 1
        told = 0
        while True:
            changed = self._changed
            yield coordinator_pb2.WatchClusterResponse(cluster=self.cluster)
            told += 1
            if told == self.break_watches_after:
                await context.abort(grpc.StatusCode.UNKNOWN, "Stream removed")
            if self.break_watches_after is None:
                await changed.wait()

    async def Switchover(
        self, request: coordinator_pb2.SwitchoverRequest, context: Any
    ) -> coordinator_pb2.SwitchoverResponse:
        before = self.cluster.primary
        states = {node.address.name: node.status.state for node in self.cluster.nodes}
        if request.to_node and request.to_node not in states:
            message = f"no node {request.to_node}: `fasttree status` lists them"
            raise NotFoundError(message, field="to_node", value=request.to_node)
        ready = [name for name, state in states.items() if state in _READY and name != before]
        to_node = request.to_node or next(iter(ready), "")
        if to_node and to_node == before:
            return coordinator_pb2.SwitchoverResponse(from_node=before, to_node=before, epoch=self.cluster.epoch)
        if self.cluster.paused or not before or to_node not in ready:
            raise FailedPreconditionError("elections are paused, or there is no primary, or nobody who could be")
        self.give_role(to_node)
        return coordinator_pb2.SwitchoverResponse(
            from_node=before, to_node=to_node, epoch=self.cluster.epoch, took_ms=12
        )

    async def SwitchoverPusher(
        self, request: coordinator_pb2.SwitchoverPusherRequest, context: Any
    ) -> coordinator_pb2.SwitchoverPusherResponse:
        names = [pusher.name for pusher in self.cluster.pushers]
        if request.to_pusher not in names:
            message = (
                f"there is no pusher {request.to_pusher} that takes turns; there are: {', '.join(names) or 'none'}"
            )
            raise NotFoundError(message, field="to_pusher", value=request.to_pusher)
        before, self.cluster.pusher = self.cluster.pusher, request.to_pusher
        return coordinator_pb2.SwitchoverPusherResponse(from_pusher=before, to_pusher=request.to_pusher)

    async def Pause(self, request: coordinator_pb2.PauseRequest, context: Any) -> coordinator_pb2.PauseResponse:
        self.cluster.paused = True
        self.tell_watchers()
        return coordinator_pb2.PauseResponse()

    async def Resume(self, request: coordinator_pb2.ResumeRequest, context: Any) -> coordinator_pb2.ResumeResponse:
        self.cluster.paused = False
        self.tell_watchers()
        return coordinator_pb2.ResumeResponse()


@contextlib.asynccontextmanager
async def fake_coordinator() -> AsyncIterator[FakeCoordinator]:
    """One that knows nobody, and elects nobody before it is told to: paused."""
    coordinator = FakeCoordinator()
    coordinator.cluster.paused = True
    await coordinator.start()
    try:
        yield coordinator
    finally:
        await coordinator.stop()
