"""What a coordinator serves while another one is active: who that is, and pushers' heartbeats."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.coordinator.leadership.active_view import ActiveView
from services.coordinator.leadership.leadership import Leadership
from services.coordinator.leadership.vouches import Vouches
from services.coordinator.pushers.events import LeaseSeen
from services.coordinator.pushers.nomination import PusherNomination
from services.coordinator.pushers.runner import PusherElectionRunner, PusherNominationRunner
from services.coordinator.settings import CoordinatorSettings
from services.coordinator.stores.lease import Lease
from services.coordinator.stores.lease_store import LeaseStore
from services.shared.clock import Clock
from services.shared.config.sections import ClusterSettings
from services.shared.debug.own_pages import own_pages
from services.shared.domain.addresses import address_of
from services.shared.security.guard import principals_of
from services.shared.serving.background import Background
from services.shared.serving.errors import UnavailableError
from services.shared.serving.metrics import Metrics
from services.shared.serving.ops_port import OpsPort, Verdict
from services.shared.serving.server import GrpcServer

_RETRY_AFTER_S = 0.25


def name_of(identity: str) -> str:
    """The coordinator's name in a holder's identity, which has its process behind it."""
    return identity.rpartition("_")[0] or identity


class KeepsPushers(Protocol):
    """What takes pushers' heartbeats; see `pushers/service.py`."""

    def keep(
        self,
        requests: AsyncIterator[coordinator_pb2.KeepPusherRequest],
        context: Any,
        without_standbys: Callable[[], Exception] | None = None,
    ) -> AsyncIterator[coordinator_pb2.KeepPusherResponse]: ...


class StandbyServicer(coordinator_pb2_grpc.CoordinatorServiceServicer):
    """Says what the active one said last, to whoever only looks; to every other call, where that one is. Who asks comes
    to it by the Service, by the list of coordinators, or by the address that the refusal names."""

    def __init__(self, core: Leadership, view: ActiveView, pushers: KeepsPushers, vouches: Vouches) -> None:
        self._core = core
        self._view = view
        self._pushers, self._vouches = pushers, vouches

    def _refusal(self) -> UnavailableError:
        return UnavailableError(
            standing(self._core), reason="STANDBY", retry_after_s=_RETRY_AFTER_S, active=self._core.holder_address
        )

    def _no_answers(self) -> Iterator[Any]:
        raise self._refusal()

    async def KeepAlive(
        self, request_iterator: AsyncIterator[coordinator_pb2.KeepAliveRequest], context: Any
    ) -> AsyncIterator[coordinator_pb2.KeepAliveResponse]:
        for answer in self._no_answers():
            yield answer

    async def WatchCluster(
        self, request: coordinator_pb2.WatchClusterRequest, context: Any
    ) -> AsyncIterator[coordinator_pb2.WatchClusterResponse]:
        for answer in self._no_answers():
            yield answer

    async def GetCluster(
        self, request: coordinator_pb2.GetClusterRequest, context: Any
    ) -> coordinator_pb2.GetClusterResponse:
        if self._view.cluster is None:
            raise self._refusal()
        answer = coordinator_pb2.GetClusterResponse(cluster=self._view.cluster)
        answer.cluster.standby = standing(self._core)
        return answer

    async def Switchover(
        self, request: coordinator_pb2.SwitchoverRequest, context: Any
    ) -> coordinator_pb2.SwitchoverResponse:
        raise self._refusal()

    async def KeepPusher(
        self, request_iterator: AsyncIterator[coordinator_pb2.KeepPusherRequest], context: Any
    ) -> AsyncIterator[coordinator_pb2.KeepPusherResponse]:
        async for answer in self._pushers.keep(request_iterator, context, without_standbys=self._refusal):
            yield answer

    async def VouchPrimary(
        self, request_iterator: AsyncIterator[coordinator_pb2.VouchPrimaryRequest], context: Any
    ) -> AsyncIterator[coordinator_pb2.VouchPrimaryResponse]:
        async for answer in self._vouches.answers(request_iterator, principals_of(context.auth_context())):
            yield answer

    async def SwitchoverPusher(
        self, request: coordinator_pb2.SwitchoverPusherRequest, context: Any
    ) -> coordinator_pb2.SwitchoverPusherResponse:
        raise self._refusal()

    async def Pause(self, request: coordinator_pb2.PauseRequest, context: Any) -> coordinator_pb2.PauseResponse:
        raise self._refusal()

    async def Resume(self, request: coordinator_pb2.ResumeRequest, context: Any) -> coordinator_pb2.ResumeResponse:
        raise self._refusal()


def standing(core: Leadership) -> str:
    """What a standby says of itself."""
    if core.problem:
        return f"this coordinator stands by, and can't see which one is active: {core.problem}"
    if not core.holder:
        return "this coordinator stands by: none is active yet"
    where = f" at {core.holder_address}" if core.holder_address else ""
    active = f"{name_of(core.holder)} is active{where}"
    return f"this coordinator stands by: {active}"


class Standby:
    """A coordinator that is not the active one. Ready: whoever waits for it to be up need not wait for a turn."""

    def __init__(
        self,
        cluster: ClusterSettings,
        settings: CoordinatorSettings,
        core: Leadership,
        store: LeaseStore,
        clock: Clock,
        calls: Callable[[PusherElectionRunner], KeepsPushers],
    ) -> None:
        """`calls`: takes pushers' heartbeats for what hears them."""
        self._core = core
        self._settings = settings
        self.background = Background()
        self._view = ActiveView(lambda: core.holder_address)
        nomination = PusherNomination(settings.pushers, settings.leadership.silence_s, clock.now_s())
        self.pushers = PusherNominationRunner(nomination, store, clock, self.background)
        vouches = Vouches(store, cluster.name, settings.nodes_max)
        self.server = GrpcServer(
            address_of(settings.listen_host, settings.port),
            services=[
                (
                    coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server,
                    StandbyServicer(core, self._view, calls(self.pushers), vouches),
                ),
            ],
            service_names=[],
            settings=settings.serving,
            setting="coordinator.port",
        )
        self.metrics = Metrics("coordinator", "fasttree_coordinator_")
        self.metrics.gauge("active", "1 while this coordinator is the active one.", lambda: 0)
        self.metrics.process(settings.state_path)
        self.http = OpsPort(
            "coordinator.http_port",
            self.metrics,
            {"/readyz": lambda: Verdict(not core.problem, standing(core))},
            pages=list(own_pages()),
            names=(settings.listen_host, *cluster.http_hosts),
        )

    def looked(self, lease: Lease, unchanged_s: float) -> None:
        """The coordinators' lease was read."""
        self.pushers.feed(LeaseSeen(lease.recorded, unchanged_s))

    async def start(self) -> Standby:
        """Listens on both ports. Raises OSError where one is taken."""
        try:
            await self.server.start()
            await self.http.start(self._settings.listen_host, self._settings.http_port)
            self.pushers.start()
            self.background.start(self._view.run(), "watches the active coordinator")
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """Listens no more."""
        await self.pushers.close()
        await self.background.stop()
        await self.server.give_way()
        await self.http.stop()
        self.metrics.close()
