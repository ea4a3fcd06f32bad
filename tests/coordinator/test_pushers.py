"""Pushers' side of CoordinatorService over real gRPC, on a clock that the test turns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from fasttree.v1 import coordinator_pb2
from services.coordinator.election.events import Recorded
from services.coordinator.view import SECOND_PROCESS
from tests.coordinator.test_service import DEADLINE_S, Stage
from tests.waiting import until

STANDBY, ACTIVE = coordinator_pb2.PUSHER_STATE_STANDBY, coordinator_pb2.PUSHER_STATE_ACTIVE


class PusherBeats:
    """A pusher's heartbeats, sent when told to."""

    def __init__(self, stub: Any, name: str, **values: Any) -> None:
        self.call = stub.KeepPusher()
        self.request = coordinator_pb2.KeepPusherRequest(
            **{"cluster": "dot-test", "name": name, "address": f"{name}:50300", "incarnation": f"{name}-1"} | values
        )
        self.request.status.state = STANDBY

    async def beat(self, **status: Any) -> coordinator_pb2.KeepPusherResponse:
        """Sends one; the answer to it. Raises AioRpcError where the stream ends."""
        self.request.sequence += 1
        for name, value in status.items():
            setattr(self.request.status, name, value)
        await self.call.write(self.request)
        while isinstance(answer := await self.call.read(), coordinator_pb2.KeepPusherResponse):
            if answer.sequence == self.request.sequence:
                return answer
        raise grpc.aio.AioRpcError(
            await self.call.code(), grpc.aio.Metadata(), grpc.aio.Metadata(), await self.call.details()
        )


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    await stage.start()
    yield stage
    await stage.channel.close()
    await stage.coordinator.stop()


async def test_one_is_made_active_and_everybody_who_watches_hears_of_it(stage: Stage) -> None:
    one, other = PusherBeats(stage.stub, "p1"), PusherBeats(stage.stub, "p2")
    assert not (await one.beat(position=5)).active
    stage.clock.turn(0.8)
    await other.beat(position=7)
    await one.beat()
    stage.clock.turn(0.3)

    async def told() -> bool:
        return (await other.beat()).active

    await until(told, "the furthest one to be told")
    assert await stage.store.load() == Recorded(
        pusher_epoch=1, pusher="p2", pusher_incarnation="p2-1", pusher_address="p2:50300"
    )
    answer = await one.beat()
    assert (answer.active, answer.epoch, answer.active_address) == (False, 1, "p2:50300")
    await other.beat(state=ACTIVE, epoch=1, known_epoch=1)
    cluster = await stage.cluster()
    assert (cluster.pusher, cluster.pusher_epoch, cluster.pusher_address) == ("p2", 1, "p2:50300")
    assert [(pusher.name, pusher.status.state) for pusher in cluster.pushers] == [("p1", STANDBY), ("p2", ACTIVE)]

    # An operator's wish.
    asked = stage.stub.SwitchoverPusher(coordinator_pb2.SwitchoverPusherRequest(), timeout=DEADLINE_S)

    async def is_made_active() -> bool:
        return (await one.beat()).active

    await until(is_made_active, "the other one to be told")
    assert not (await other.beat()).active
    await one.beat(state=ACTIVE, epoch=2, known_epoch=2)
    done = await asked
    assert (done.from_pusher, done.to_pusher, done.epoch) == ("p2", "p1", 2)


async def test_one_with_another_log_is_told_and_shown_unfit(stage: Stage) -> None:
    one, other = PusherBeats(stage.stub, "p1"), PusherBeats(stage.stub, "p2")
    await one.beat(position=5, log_id="x")
    stage.clock.turn(1.1)

    async def told() -> bool:
        return (await one.beat()).active

    await until(told, "one to be told")
    await one.beat(state=ACTIVE, epoch=1, known_epoch=1, log_in_force=True)
    await until(stored_log(stage, "x"), "the log to be recorded")
    says = (await other.beat(position=9, log_id="y")).unfit
    assert says.startswith("it has log y, and the cluster's is x: start it with the log of the other pushers")
    shown = {pusher.name: pusher.status for pusher in (await stage.cluster()).pushers}
    assert (shown["p2"].state, shown["p2"].note) == (coordinator_pb2.PUSHER_STATE_UNFIT, says)
    assert (shown["p1"].state, shown["p1"].note, shown["p1"].log_in_force) == (ACTIVE, "", True)
    with pytest.raises(grpc.aio.AioRpcError, match="p2 can't be active: it has log y") as caught:
        await stage.stub.SwitchoverPusher(coordinator_pb2.SwitchoverPusherRequest(to_pusher="p2"), timeout=DEADLINE_S)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def stored_log(stage: Stage, log_id: str) -> Callable[[], Awaitable[bool]]:
    async def is_stored() -> bool:
        return (await stage.store.load()).pusher_log == log_id

    return is_stored


async def test_a_switchover_to_nobody_says_who_there_is(stage: Stage) -> None:
    await PusherBeats(stage.stub, "p1").beat()
    with pytest.raises(grpc.aio.AioRpcError, match="there is no pusher p9 that takes turns; there are: p1") as caught:
        await stage.stub.SwitchoverPusher(coordinator_pb2.SwitchoverPusherRequest(to_pusher="p9"), timeout=DEADLINE_S)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("values", "code", "said"),
    [
        ({"cluster": "dot-live"}, grpc.StatusCode.FAILED_PRECONDITION, "the pusher is of .dot-live"),
        ({"name": "a b"}, grpc.StatusCode.INVALID_ARGUMENT, "name must be"),
        ({"address": "here"}, grpc.StatusCode.INVALID_ARGUMENT, "address: "),
        ({"incarnation": ""}, grpc.StatusCode.INVALID_ARGUMENT, "incarnation must be"),
        (
            {"status": coordinator_pb2.PusherStatus(log_id="x" * 65)},
            grpc.StatusCode.INVALID_ARGUMENT,
            "log_id must be at most 64 printable ASCII characters",
        ),
        (
            {"status": coordinator_pb2.PusherStatus(known_epoch=2**40)},
            grpc.StatusCode.INVALID_ARGUMENT,
            "far beyond this coordinator's 0",
        ),
    ],
)
async def test_what_no_pusher_says_is_refused(
    stage: Stage, values: dict[str, Any], code: grpc.StatusCode, said: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=said) as caught:
        await PusherBeats(stage.stub, **({"name": "p1"} | values)).beat()
    assert caught.value.code() is code
    assert not (await stage.cluster()).pushers


async def test_a_name_belongs_to_the_process_that_lives(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    await PusherBeats(stage.stub, "p1").beat()
    for _ in range(3):  # it goes on trying: the log has it once
        with pytest.raises(grpc.aio.AioRpcError, match="another process holds the name p1") as caught:
            await PusherBeats(stage.stub, "p1", incarnation="p1-2").beat()
        assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert sum("another process holds the name p1" in line for line in caplog.messages) == 1
    # Who asks for the cluster is told, and the figures are, for as long as it goes on.
    (told,) = (await stage.cluster()).pushers
    assert told.status.note == SECOND_PROCESS
    assert stage.coordinator.servicer.pushers_refused == 3
    stage.clock.turn(1.1)
    await PusherBeats(stage.stub, "p1", incarnation="p1-3").beat()
    stage.clock.turn(4.0)
    assert [pusher.status.note for pusher in (await stage.cluster()).pushers] == [""]
