"""A primary that is lost without anybody's wish leaves its reason: what the coordinator's log tells."""

from __future__ import annotations

import logging

import pytest

from services.coordinator.election.election import ElectionCore, ElectionSettings
from services.coordinator.election.events import (
    Event,
    Heartbeat,
    NodeState,
    Persist,
    PersistDone,
    Recorded,
    SwitchoverAsked,
)
from services.coordinator.election.runner import CoreRunner
from services.coordinator.election.seat import Lost
from services.coordinator.stores.store import MemoryStore
from services.shared.cores import Tick
from services.shared.serving.background import Background
from tests.fakes.clock import TurnedClock
from tests.waiting import until


class Stage:
    """A core with primary n1 and passive n2, which have both spoken at 10.0 s."""

    def __init__(self) -> None:
        self.core = ElectionCore(ElectionSettings(lease_s=1.0), Recorded(), (), 0.0)
        self.sequence = 0
        self.feed(Tick(), 1.0)  # the first lease time is over
        self.beat("n1", 9.5)
        self.beat("n1", 9.9, NodeState.PRIMARY, 1)
        self.beat("n2", 10.0)
        self.beat("n1", 10.0, NodeState.PRIMARY, 1)
        assert self.core.seat.primary == "n1"

    def beat(self, node: str, now_s: float, state: NodeState = NodeState.PASSIVE, epoch: int = 0) -> None:
        self.sequence += 1
        beat = Heartbeat(
            node=node, incarnation="a", sequence=self.sequence, state=state, primary_epoch=epoch, known_epoch=epoch
        )
        self.feed(beat, now_s)

    def feed(self, event: Event, now_s: float) -> None:
        """Whatever is to be written is."""
        for action in self.core.handle(event, now_s):
            if isinstance(action, Persist):
                self.feed(PersistDone(recorded=action.recorded), now_s)


def test_a_lease_that_ran_out() -> None:
    stage = Stage()
    stage.feed(Tick(), 11.0)
    assert stage.core.seat.lost == Lost(
        "n1", 1, "its lease of 1 s is over: nothing was heard of it for 1.00 s", asked=False
    )


def test_a_coordinator_that_was_held_up_says_so() -> None:
    stage = Stage()
    stage.feed(Tick(), 13.5)
    assert stage.core.seat.lost is not None
    assert stage.core.seat.lost.why == (
        "its lease of 1 s is over: nothing was heard of it for 3.50 s; this coordinator looked 2.50 s late"
    )


def test_one_that_steps_down_drains_or_is_asked_to() -> None:
    stage = Stage()
    stage.beat("n1", 10.2)
    assert stage.core.seat.lost == Lost("n1", 1, "n1 stepped down by itself: its own log says why", asked=False)
    stage = Stage()
    stage.beat("n1", 10.2, NodeState.DRAINING, 1)
    assert stage.core.seat.lost == Lost("n1", 1, "it is draining", asked=False)
    stage = Stage()
    stage.feed(SwitchoverAsked(request=1, to_node="n2"), 10.2)
    stage.beat("n1", 10.3, NodeState.PRIMARY, 1)
    stage.beat("n2", 10.3)
    assert stage.core.seat.lost == Lost("n1", 1, "switchover to n2, as asked", asked=True)


async def test_the_log_has_it_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = TurnedClock()
    core = ElectionCore(ElectionSettings(lease_s=1.0), Recorded(), (), clock.now_s())
    runner = CoreRunner(core, MemoryStore(), clock, Background())
    with caplog.at_level(logging.INFO):
        runner.start()
        clock.turn(2.0)
        for sequence in (1, 2):
            runner.feed(Heartbeat(node="n1", incarnation="a", sequence=sequence, state=NodeState.PASSIVE))
            await until(lambda: core.ledger.writing is None, "the write")
        clock.turn(1.5)
        runner.feed(Tick())
        runner.feed(Tick())
        await runner.close()
    lines = [record for record in caplog.records if "not primary any more" in record.message]
    assert [(line.levelname, line.message[:70]) for line in lines] == [
        ("WARNING", "epoch 1: n1 is not primary any more: its lease of 1 s is over: nothing"[:70])
    ]
