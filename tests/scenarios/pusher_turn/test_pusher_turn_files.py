"""One pusher of several; this one is `me`. Short forms of its events:

told 3 me | told 3 other        the coordinator: the epoch, and who is active
told 0 -                        the coordinator has named nobody yet
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from services.pusher.leadership.leadership import PusherTurn, Told, TurnEvent
from tests.scenarios.driver import Table, of_folder


@dataclass(frozen=True)
class Start:
    """Nothing is set."""


def short(words: list[str], core: PusherTurn) -> object | None:
    match words:
        case ["told", epoch, "-"]:
            return Told(False, int(epoch))
        case ["told", epoch, name]:
            return Told(name == "me", int(epoch), name, f"{name}:50300")
    return None


def state(core: PusherTurn, now_s: float) -> str:
    epoch = f" in epoch {core.epoch}" if core.epoch else ""
    problem = f" ({core.problem})" if core.problem else ""
    return f"{core.turn.value}{epoch}, knows of epoch {core.known_epoch}, active {core.active[0] or 'nobody'}{problem}"


TABLE = Table(
    start=Start(), make=lambda start: PusherTurn(0.0), events=get_args(TurnEvent), state=state, short=short
)  # fmt: skip

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
