"""Which letter of a message is handed over when. Messages are `a` and `b`; their channel is `sms`. Short forms:

open a NAME=VALUE …          it begins; as `Opened`, with the channel filled in
quiet a 21:00-08:00 ZONE     the same with quiet hours
loaded a 1..4                these letters were read; `!3` among them: its member wants none; `-`: none
taken a 1 2                  the sender took them; likewise: refused, again
again a 1 after=30           it said when to try again
noted a 1 2                  what became of them is on disk
wall 1764201600              the wall clock shows this now
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.datatrax.messages.events import (
    Answered,
    Cancelled,
    Event,
    Gathered,
    GatherFailed,
    Loaded,
    Noted,
    Opened,
    OptedOut,
    Paused,
    Resumed,
    Waiting,
    WallClock,
    Word,
)
from services.datatrax.messages.quiet import quiet_hours
from services.datatrax.messages.sending import Sending
from services.datatrax.messages.under_way import Lane
from tests.scenarios.driver import Table, of_folder
from tests.scenarios.language import read

CHANNEL = "sms"


@dataclass(frozen=True)
class Start:
    """What the core is made with."""

    window: int = 2
    limit_a_minute: int = 0
    attempts_max: int = 3
    retry_initial_s: float = 1.0
    retry_max_s: float = 60.0


def numbers(text: str) -> tuple[int, ...]:
    first, dots, last = text.partition("..")
    return tuple(range(int(first), int(last) + 1)) if dots else (int(text),)


def letters(words: list[str]) -> tuple[Waiting, ...]:
    found: list[Waiting] = []
    for word in words:
        if word != "-":
            found += [Waiting(number, word.startswith("!")) for number in numbers(word.removeprefix("!"))]
    return tuple(found)


def short(words: list[str], core: Sending) -> Event | None:
    """See above."""
    match words:
        case ["open", message_id, *values]:
            return read(values, Opened, Opened(message_id, CHANNEL))
        case ["quiet", message_id, hours, zone]:
            begins, _, ends = hours.partition("-")
            return replace(Opened(message_id, CHANNEL), quiet=quiet_hours(begins, ends, zone))
        case ["loaded", message_id, *found]:
            return Loaded(message_id, letters(found))
        case ["again", message_id, number, after]:
            return Answered(message_id, int(number), Word.AGAIN, "busy", float(after.removeprefix("after=")))
        case [("taken" | "refused" | "again") as word, message_id, number]:
            reason = "" if word == "taken" else "no such phone" if word == "refused" else "busy"
            return Answered(message_id, int(number), Word[word.upper()], reason)
        case ["noted", message_id, *found]:
            return Noted(message_id, tuple(int(each) for each in found))
        case ["opted_out", message_id, *found]:
            return OptedOut(message_id, tuple(int(each) for each in found))
        case ["wall", shown_s]:
            return WallClock(float(shown_s))
    return None


def state(core: Sending, now_s: float) -> str:
    """What is in the window, and what waits for its time."""
    lines = []
    for message_id, under_way in core.under_way.items():
        until_s = core.waits_until_s(message_id, now_s)
        gate = "" if until_s is None else f", waits until {until_s:g}"
        lines.append(f"{message_id}: {under_way} under way, holds {core.held(message_id) or 'nothing'}{gate}")
    return "\n".join(lines) or "no message"


def made(start: Start) -> Sending:
    lane = Lane(start.window, start.limit_a_minute, start.attempts_max, start.retry_initial_s, start.retry_max_s)
    return Sending({CHANNEL: lane}, 0.0)


TABLE = Table(
    start=Start(),
    make=made,
    events=(Gathered, GatherFailed, Paused, Resumed, Cancelled),
    state=state,
    short=short,
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
