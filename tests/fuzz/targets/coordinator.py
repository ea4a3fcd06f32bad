"""Every call of a coordinator, through what serves it: of the active one, on a clock that inputs turn, and of one that
stands by."""

from __future__ import annotations

from functools import cache
from typing import Any

from fasttree.v1 import coordinator_pb2
from services.coordinator.app import Coordinator
from services.coordinator.election.events import Recorded
from services.coordinator.leadership.active_view import ActiveView
from services.coordinator.leadership.leadership import Leadership
from services.coordinator.leadership.standby import StandbyServicer
from services.coordinator.leadership.vouches import Vouches
from services.coordinator.pushers.nomination import PusherNomination
from services.coordinator.pushers.runner import PusherNominationRunner
from services.coordinator.pushers.service import PusherCalls
from services.coordinator.settings import CoordinatorSettings
from services.coordinator.stores.store import MemoryStore
from services.shared.config.sections import ClusterSettings
from services.shared.serving.background import Background
from tests.fakes.clock import TurnedClock
from tests.fuzz.asking import REFUSALS, Asked, Names, asking, input_of, methods_of, plain_inputs
from tests.fuzz.target import Run, Target

_NAME = "dot-test"
_SERVICE = coordinator_pb2.DESCRIPTOR.services_by_name["CoordinatorService"]
#: Names that an input may make known before others are refused for their number.
_SETTINGS = CoordinatorSettings(listen_host="127.0.0.1", port=0, http_port=0, nodes_max=8, watchers_max=4)


class _TurnedBy:
    """Turns a clock by what an input says of its client."""

    def __init__(self, clock: TurnedClock) -> None:
        self._clock = clock

    async def __call__(self, behaves: int) -> None:
        self._clock.turn((behaves >> 3) * 0.05)


class _Record:
    """What coordinators share, where nobody writes."""

    def __init__(self) -> None:
        self._store = MemoryStore()

    async def read_anew(self) -> Recorded:
        return await self._store.load()


@cache
def _active() -> Run:
    async def made() -> Asked:
        clock = TurnedClock()
        cluster = ClusterSettings(name=_NAME)
        coordinator = await Coordinator.start(cluster, _SETTINGS, MemoryStore(), clock=clock)

        def check() -> None:
            for each in (coordinator.runner.core, coordinator.pushers.core):
                each.validate()
            assert coordinator.background.error is None, coordinator.background.reason
            coordinator.servicer.view().SerializeToString()

        return Asked(methods_of([(_SERVICE, coordinator.servicer)]), coordinator.stop, check, after=_TurnedBy(clock))

    return asking(made)


@cache
def _standing_by() -> Run:
    async def made() -> Asked:
        clock, background, store = TurnedClock(), Background(), MemoryStore()
        core = Leadership(_SETTINGS.leadership, "c1_x", clock.now_s())
        nomination = PusherNomination(_SETTINGS.pushers, _SETTINGS.leadership.silence_s, clock.now_s())
        pushers = PusherNominationRunner(nomination, store, clock, background)
        pushers.start()
        view = ActiveView(lambda: "")
        view.cluster = coordinator_pb2.Cluster(name=_NAME, primary="n1", epoch=3)
        calls, vouches = PusherCalls(pushers, _NAME, 8), Vouches(_Record(), _NAME, 8)

        def check() -> None:
            nomination.validate()
            assert background.error is None, background.reason

        servicer = StandbyServicer(core, view, calls, vouches)
        return Asked(methods_of([(_SERVICE, servicer)]), pushers.close, check, after=_TurnedBy(clock))

    return asking(made)


def _node(name: str, sequence: int, **status: int) -> coordinator_pb2.KeepAliveRequest:
    request = coordinator_pb2.KeepAliveRequest(
        cluster=_NAME,
        node=coordinator_pb2.NodeAddress(name=name, report=f"{name}:50100", instant=f"{name}:50201"),
        sequence=sequence,
        incarnation=f"{name}-1",
    )
    request.status.MergeFrom(
        coordinator_pb2.NodeStatus(
            state=coordinator_pb2.NODE_STATE_PASSIVE, import_id=1, position=sequence, log_id="log"
        )
    )
    for field, value in status.items():
        setattr(request.status, field, value)
    return request


def _pusher(name: str, sequence: int, **status: int) -> coordinator_pb2.KeepPusherRequest:
    request = coordinator_pb2.KeepPusherRequest(
        cluster=_NAME, name=name, address=f"{name}:50300", incarnation=f"{name}-1", sequence=sequence
    )
    request.hears_standbys = True
    request.status.state = coordinator_pb2.PUSHER_STATE_STANDBY
    for field, value in status.items():
        setattr(request.status, field, value)
    return request


def _inputs() -> list[bytes]:
    asked = coordinator_pb2.VouchPrimaryRequest(cluster=_NAME, node="n1", incarnation="n1-1", epoch=3, sequence=1)
    given: dict[str, list[Any]] = {
        "KeepAlive": [_node("n1", 1), _node("n1", 2), _node("n1", 3, primary_epoch=1, known_epoch=1)],
        "KeepPusher": [_pusher("p1", 1), _pusher("p1", 2, position=7), _pusher("p1", 3, epoch=1, known_epoch=1)],
        "VouchPrimary": [asked],
        "Switchover": [coordinator_pb2.SwitchoverRequest(to_node="n1")],
        "SwitchoverPusher": [coordinator_pb2.SwitchoverPusherRequest(to_pusher="p1")],
    }
    services = [(_SERVICE, Names())]
    # A lease's time goes by at the end of some.
    timed = [
        input_of(place, given[method.name], behaves, streams=True)
        for place, method in enumerate(methods_of(services))
        if method.streams
        for behaves in (30 << 3, 6 << 3 | 2)
    ]
    return [*plain_inputs(services, given), *timed]


TARGETS = [
    Target("coordinator.active", _active, REFUSALS, _inputs, 2_048),
    Target("coordinator.standing-by", _standing_by, REFUSALS, _inputs, 2_048),
]
