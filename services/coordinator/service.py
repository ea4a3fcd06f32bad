"""CoordinatorService over gRPC."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.coordinator.election.events import Answer, Heartbeat, NodeState
from services.coordinator.election.runner import CoreRunner
from services.coordinator.pushers.runner import PusherElectionRunner
from services.coordinator.pushers.service import PusherCalls
from services.coordinator.settings import CoordinatorSettings
from services.coordinator.view import cluster_message, tell_second_processes
from services.shared.domain.addresses import NODE_NAME_FORM, address_problem, is_node_name
from services.shared.domain.sentences import counted, quoted
from services.shared.security.guard import name_problem, principals_of
from services.shared.serving.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    ResourceExhaustedError,
)

#: Answers that wait for a node that does not read; a node answers within milliseconds or is gone.
ANSWERS_WAITING_MAX = 256
#: What a node's process calls itself, beside the node's name.
_INCARNATION = re.compile(r"[!-~]{1,64}")
#: An epoch that a node may know beyond this coordinator's own: a coordinator that lost its state goes on above it, and
#: nobody held so many elections meanwhile. What is beyond would use the numbers up.
EPOCH_LEAD_MAX = 2**32


class NodeStream:
    """One heartbeat stream's way back: answers, then perhaps an error."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[coordinator_pb2.KeepAliveResponse | Exception | None] = asyncio.Queue()

    def answer(self, answer: Answer) -> None:
        """Sends an answer; ends the stream of a node that does not read them."""
        if self._waiting.qsize() >= ANSWERS_WAITING_MAX:
            self.end(ResourceExhaustedError(f"{answer.node} does not read the answers to its heartbeats"))
            return
        message = coordinator_pb2.KeepAliveResponse(
            sequence=answer.sequence,
            role=coordinator_pb2.Role.ValueType(answer.role),
            epoch=answer.epoch,
            lease_ms=round(answer.lease_s * 1000),
            primary=answer.primary,
        )
        if (others := answer.others_ready) is not None:
            message.others_ready.complete = others.complete
            message.others_ready.import_id = others.import_id
            message.others_ready.position = others.position
        self._waiting.put_nowait(message)

    def end(self, error: Exception | None) -> None:
        """Ends the stream with this error, or without one, after what is waiting."""
        self._waiting.put_nowait(error)

    async def next(self) -> coordinator_pb2.KeepAliveResponse | None:
        """The next answer; None at the end. Raises the error that ends the stream."""
        item = await self._waiting.get()
        if isinstance(item, Exception):
            raise item
        return item


class CoordinatorServicer(coordinator_pb2_grpc.CoordinatorServiceServicer):
    """Heartbeats in, roles out; the cluster for whoever watches; an operator's wishes.

    Args:
        runner: The election core and its surroundings.
        pushers: The election of the active pusher.
        cluster: The cluster's name.
        settings: How often watchers hear at least, and how many of them and of nodes there may be.
    """

    def __init__(
        self, runner: CoreRunner, pushers: PusherElectionRunner, cluster: str, settings: CoordinatorSettings
    ) -> None:
        self._runner = runner
        self._pushers = PusherCalls(pushers, cluster, settings.nodes_max)
        self._cluster = cluster
        self._settings = settings
        self._watchers = 0
        #: Each node's newest heartbeat that was taken, by name.
        self._heartbeats: dict[str, coordinator_pb2.KeepAliveRequest] = {}
        self._stopping = False
        #: When a second process of a pusher's name was refused last, by that name.
        self._second_pushers: dict[str, float] = {}
        #: Streams of such processes that were refused since the start.
        self.pushers_refused = 0
        #: Heartbeats received since the start.
        self.heartbeats_received = 0

    def stop(self) -> None:
        """Ends every watch at the next change."""
        self._stopping = True

    def view(self) -> coordinator_pb2.Cluster:
        """The cluster now."""
        known = {lease.node for lease in self._runner.core.leases}
        self._heartbeats = {node: heartbeat for node, heartbeat in self._heartbeats.items() if node in known}
        view = cluster_message(
            self._runner.core,
            self._cluster,
            self._heartbeats,
            self._runner.now(),
            time.time(),
            self._settings.told_address,
        )
        self._pushers.describe(view)
        tell_second_processes(view, self._second_pushers, self._runner.now())
        return view

    # ---- pushers -----------------------------------------------------------------------------------------------------

    async def KeepPusher(
        self, request_iterator: AsyncIterator[coordinator_pb2.KeepPusherRequest], context: Any
    ) -> AsyncIterator[coordinator_pb2.KeepPusherResponse]:
        try:
            async for answer in self._pushers.keep(request_iterator, context):
                yield answer
        except AlreadyExistsError as error:
            self.pushers_refused += 1
            self._second_pushers[error.value] = self._runner.now()
            raise

    async def SwitchoverPusher(
        self, request: coordinator_pb2.SwitchoverPusherRequest, context: Any
    ) -> coordinator_pb2.SwitchoverPusherResponse:
        return await self._pushers.switch_over(request.to_pusher)

    # ---- heartbeats --------------------------------------------------------------------------------------------------

    async def KeepAlive(
        self, request_iterator: AsyncIterator[coordinator_pb2.KeepAliveRequest], context: Any
    ) -> AsyncIterator[coordinator_pb2.KeepAliveResponse]:
        stream = NodeStream()
        names = principals_of(context.auth_context())
        reader = asyncio.create_task(self._read(request_iterator, stream, names))
        # The generator may be left where it stands when the call ends; the callback always comes.
        context.add_done_callback(lambda _: reader.cancel())
        try:
            while (answer := await stream.next()) is not None:
                yield answer
        finally:
            reader.cancel()

    async def _read(
        self, requests: AsyncIterator[coordinator_pb2.KeepAliveRequest], stream: NodeStream, names: tuple[str, ...]
    ) -> None:
        process: tuple[str, str] | None = None
        try:
            async for request in requests:
                self._check(request, process)
                if process is None:
                    if problem := name_problem(names, "node", request.node.name):
                        raise PermissionDeniedError(
                            f"{problem}: set treenode.name, or give this node its own certificate",
                            reason="NAME_NOT_OWN",
                            field="node.name",
                            value=request.node.name,
                        )
                    process = request.node.name, request.incarnation
                    if older := self._runner.attach(*process, stream):
                        older.end(AbortedError(f"a newer stream of {request.node.name} took this one's place"))
                self._take(request)
            stream.end(None)
        except Exception as error:
            # The call is told, and where it is a defect, the log: nobody else waits for this task.
            stream.end(error)
        finally:
            if process is not None:
                self._runner.detach(*process, stream)

    def _check(self, request: coordinator_pb2.KeepAliveRequest, process: tuple[str, str] | None) -> None:
        if request.cluster != self._cluster:
            raise FailedPreconditionError(
                f"this is the coordinator of cluster {self._cluster}, and the node is of {quoted(request.cluster)}: "
                "set [cluster] name and coordinator to match",
                field="cluster",
                value=request.cluster,
            )
        if not is_node_name(request.node.name):
            raise InvalidArgumentError(
                f"node.name must be {NODE_NAME_FORM}", field="node.name", value=request.node.name
            )
        if not _INCARNATION.fullmatch(request.incarnation):
            raise InvalidArgumentError(
                "incarnation must be 1 to 64 printable ASCII characters without blanks",
                field="incarnation",
                value=request.incarnation,
            )
        leases = self._runner.core.leases
        if leases.get(request.node.name) is None and len(leases) >= self._settings.nodes_max:
            raise ResourceExhaustedError(
                f"{counted(len(leases), 'node is', 'nodes are')} known already: wait until some are forgotten, "
                "or raise coordinator.nodes_max"
            )
        self._check_addresses(request.node)
        known_epoch, limit = request.status.known_epoch, self._runner.core.recorded.epoch + EPOCH_LEAD_MAX
        if max(known_epoch, request.status.primary_epoch) > limit:
            raise InvalidArgumentError(
                f"epoch {known_epoch} is far beyond this coordinator's {self._runner.core.recorded.epoch}: a node of "
                "another cluster, or one with a damaged state folder",
                field="status.known_epoch",
                value=str(known_epoch),
            )
        if request.sequence == 0:
            raise InvalidArgumentError("sequence counts from 1", field="sequence", value="0")
        if process is not None and process != (request.node.name, request.incarnation):
            raise InvalidArgumentError(
                "a stream belongs to one process: name and incarnation stay", field="node.name", value=request.node.name
            )

    def _check_addresses(self, node: coordinator_pb2.NodeAddress) -> None:
        for field in ("report", "instant", "http"):
            address = getattr(node, field)
            if address and (problem := address_problem(address)):
                raise InvalidArgumentError(f"node.{field}: {problem}", field=f"node.{field}", value=address)

    def _take(self, request: coordinator_pb2.KeepAliveRequest) -> None:
        self.heartbeats_received += 1
        status = request.status
        known_states = {state.value for state in NodeState}
        self._runner.feed(
            Heartbeat(
                node=request.node.name,
                incarnation=request.incarnation,
                sequence=request.sequence,
                state=NodeState(status.state) if status.state in known_states else NodeState.UNSPECIFIED,
                import_id=status.import_id,
                position=status.position,
                primary_epoch=status.primary_epoch,
                known_epoch=status.known_epoch,
                address=request.node.report,
                log_id=status.log_id,
            )
        )
        lease = self._runner.core.leases.process(request.node.name, request.incarnation)
        if lease is not None and lease.last.sequence == request.sequence:
            self._heartbeats[request.node.name] = request

    async def VouchPrimary(
        self, request_iterator: AsyncIterator[coordinator_pb2.VouchPrimaryRequest], context: Any
    ) -> AsyncIterator[coordinator_pb2.VouchPrimaryResponse]:
        """The active one answers heartbeats, and vouches for nobody."""
        async for question in request_iterator:
            yield coordinator_pb2.VouchPrimaryResponse(sequence=question.sequence)

    # ---- those who look ----------------------------------------------------------------------------------------------

    async def GetCluster(
        self, request: coordinator_pb2.GetClusterRequest, context: Any
    ) -> coordinator_pb2.GetClusterResponse:
        return coordinator_pb2.GetClusterResponse(cluster=self.view())

    async def WatchCluster(
        self, request: coordinator_pb2.WatchClusterRequest, context: Any
    ) -> AsyncIterator[coordinator_pb2.WatchClusterResponse]:
        if self._watchers >= self._settings.watchers_max:
            raise ResourceExhaustedError(
                f"{self._watchers} watch the cluster already: end some, or raise coordinator.watchers_max"
            )
        self._watchers += 1
        try:
            while not self._stopping:
                seen = self._runner.changes
                yield coordinator_pb2.WatchClusterResponse(cluster=self.view())
                await self._runner.wait_changed(seen, self._settings.watch_interval_s)
        finally:
            self._watchers -= 1

    # ---- an operator's wishes ----------------------------------------------------------------------------------------

    async def Switchover(
        self, request: coordinator_pb2.SwitchoverRequest, context: Any
    ) -> coordinator_pb2.SwitchoverResponse:
        done = await self._runner.switch_over(request.to_node)
        return coordinator_pb2.SwitchoverResponse(
            from_node=done.from_node, to_node=done.to_node, epoch=done.epoch, took_ms=round(done.took_s * 1000)
        )

    async def Pause(self, request: coordinator_pb2.PauseRequest, context: Any) -> coordinator_pb2.PauseResponse:
        await self._runner.pause(True)
        return coordinator_pb2.PauseResponse()

    async def Resume(self, request: coordinator_pb2.ResumeRequest, context: Any) -> coordinator_pb2.ResumeResponse:
        await self._runner.pause(False)
        return coordinator_pb2.ResumeResponse()
