"""Which of several pushers is active. Short forms of its events:

p1 5                    a heartbeat of p1's first process, which stands by and has read up to 5
p1 5 active 3           … which is active in epoch 3
p1/2 5                  … of its second process
p1 5 unfit | draining   … which can't read the log, or ends
p1 5 log=x              … which has log x; `log=x!`: and takes pushes; `log=z>x`: z, which was put in the place of x
done | failed           what is being written is durable; it may or may not be
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from services.coordinator.election.events import PersistDone, PersistFailed, Recorded
from services.coordinator.pushers.election import PusherElection
from services.coordinator.pushers.events import PusherAnswer, PusherBeat, PusherEvent, PusherState
from services.coordinator.pushers.settings import PusherElectionSettings
from tests.scenarios.driver import Table, of_folder


@dataclass(frozen=True)
class Start:
    """The times, and what was recorded."""

    settings: PusherElectionSettings = field(default_factory=PusherElectionSettings)
    epoch: int = 0
    pusher: str = ""
    log: str = ""


def make(start: Start) -> PusherElection:
    incarnation = f"{start.pusher}/1" if start.pusher else ""
    recorded = Recorded(
        pusher_epoch=start.epoch, pusher=start.pusher, pusher_incarnation=incarnation, pusher_log=start.log
    )
    return PusherElection(start.settings, recorded, 0.0)


def short(words: list[str], core: PusherElection) -> object | None:
    match words:
        case ["done"] if core.writing is not None:
            return PersistDone(recorded=core.writing)
        case ["failed"] if core.writing is not None:
            return PersistFailed(recorded=core.writing, reason="the store is away")
        case [process, position, *rest] if position.isdigit():
            name, _, life = process.partition("/")
            log = next((rest.pop(at) for at, word in enumerate(rest) if word.startswith("log=")), "").removeprefix(
                "log="
            )
            kind = rest[0] if rest else "standby"
            epoch = int(rest[1]) if len(rest) > 1 else 0
            before = core.leases.get(name)
            sequence = before.beat.sequence + 1 if before is not None else 1
            return PusherBeat(
                name, f"{name}/{life or '1'}", sequence, f"{name}:50300", PusherState[kind.upper()], int(position),
                epoch, epoch, log_id=log.removesuffix("!").partition(">")[0], log_in_force=log.endswith("!"),
                replaced_log_ids=tuple(filter(None, (log.removesuffix("!").partition(">")[2],))),
            )  # fmt: skip
    return None


def say(action: object) -> str | None:
    match action:
        case PusherAnswer():
            what = "active" if action.active else f"not active, {action.active_name or 'nobody'} is"
            unfit = ", unfit" if action.unfit else ""
            return f"tell {action.incarnation}: epoch {action.epoch}, {what}{unfit}"
    recorded = getattr(action, "recorded", None)
    if isinstance(recorded, Recorded):
        log = f", log {recorded.pusher_log}" if recorded.pusher_log else ""
        return f"write epoch {recorded.pusher_epoch}: {recorded.pusher_incarnation}{log}"
    return None


def state(core: PusherElection, now_s: float) -> str:
    recorded = core.recorded
    alive = [name for name, lease in sorted(core.leases.items()) if core.is_alive(lease, now_s)]
    writing = f", writes epoch {core.writing.pusher_epoch}" if core.writing is not None else ""
    problem = f" ({core.problem})" if core.problem else ""
    who = recorded.pusher_incarnation or "nobody"
    log = f", log {recorded.pusher_log}" if recorded.pusher_log else ""
    return f"epoch {recorded.pusher_epoch}: {who}{log}{writing}; heard: {', '.join(alive) or 'nobody'}{problem}"


TABLE = Table(start=Start(), make=make, events=get_args(PusherEvent), state=state, short=short, say=say)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
