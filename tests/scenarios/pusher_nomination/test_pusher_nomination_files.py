"""What a coordinator that stands by makes of pushers' heartbeats. Short forms, beside those of `pusher_election`:

p2 5 claims 1000        a heartbeat of p2's first process, which claims the log in epoch 1000
p2 5 knows 1000         … which stands by, and has heard of epoch 1000
lease 3 p1 0.4          the coordinators' lease was read: epoch 3 is p1's, and it was not renewed for 0.4 s
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import get_args

from services.coordinator.election.events import Recorded
from services.coordinator.pushers.election import PusherElection
from services.coordinator.pushers.events import LeaseSeen, PusherBeat, PusherEvent
from services.coordinator.pushers.nomination import PusherNomination
from services.coordinator.pushers.settings import PusherElectionSettings
from tests.scenarios.driver import Table, of_folder
from tests.scenarios.pusher_election import test_pusher_election_files as elections


@dataclass(frozen=True)
class Start:
    """The times."""

    settings: PusherElectionSettings = field(default_factory=PusherElectionSettings)
    silence_s: float = 0.8


def make(start: Start) -> PusherNomination:
    return PusherNomination(start.settings, start.silence_s, 0.0)


def short(words: list[str], core: PusherElection) -> object | None:
    match words:
        case ["lease", epoch, pusher, unchanged_s]:
            recorded = Recorded(pusher_epoch=int(epoch), pusher=pusher, pusher_incarnation=f"{pusher}/1")
            return LeaseSeen(recorded, float(unchanged_s))
        case [process, position, "claims", epoch]:
            beat = elections.short([process, position, "claiming", epoch], core)
            assert isinstance(beat, PusherBeat)
            return replace(beat, epoch=0)
        case [process, position, "knows", epoch]:
            beat = elections.short([process, position, "standby", epoch], core)
            assert isinstance(beat, PusherBeat)
            return replace(beat, epoch=0)
    return elections.short(words, core)


def state(core: PusherNomination, now_s: float) -> str:
    alone = ", alone" if core.is_alone else ""
    named = f"; named {core.named.pusher_incarnation}" if core.named is not None else ""
    return elections.state(core, now_s) + alone + named


TABLE = Table(start=Start(), make=make, events=get_args(PusherEvent), state=state, short=short, say=elections.say)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
