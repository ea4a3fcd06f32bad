"""Who of several coordinators is active; this one is `me`. Short forms of its events:

seen 7 other 4 | seen 7 | seen -        read: version, holder, and its lease in seconds; `-`: it is not there
written 8 1.5                           written: version, and when that was sent
refused | failed REASON | overtaken REASON
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

from services.coordinator.leadership.leadership import (
    Acquire,
    BecomeActive,
    Failed,
    Leadership,
    LeadershipEvent,
    Make,
    Overtaken,
    Read,
    Refused,
    Renew,
    Seen,
    StepDown,
    Written,
)
from services.coordinator.leadership.settings import LeadershipSettings
from tests.scenarios.driver import Table, of_folder


@dataclass(frozen=True)
class Start:
    """The times, and whose core it is."""

    settings: LeadershipSettings = field(
        default_factory=lambda: LeadershipSettings(active_lease_s=4, active_margin_s=1.0, active_renew_s=0.75)
    )
    identity: str = "me"


def short(words: list[str], core: Leadership) -> object | None:
    match words:
        case ["seen", "-"]:
            return Seen("")
        case ["seen", version]:
            return Seen(version)
        case ["seen", version, holder, lease_s]:
            return Seen(version, holder, float(lease_s))
        case ["written", version, sent_at_s]:
            return Written(version, float(sent_at_s))
        case ["refused"]:
            return Refused()
        case ["failed", *reason]:
            return Failed(" ".join(reason))
        case ["overtaken", *reason]:
            return Overtaken(" ".join(reason))
    return None


def say(action: Any) -> str | None:
    match action:
        case Read():
            return "read"
        case Acquire(version):
            return f"acquire {version or '(make it)'}"
        case Make():
            return "make"
        case Renew():
            return "renew"
        case BecomeActive():
            return "become active"
        case StepDown(reason):
            return f"step down: {reason}"
    return None


def state(core: Leadership, now_s: float) -> str:
    acts = "may act" if core.may_act(now_s) else "may not act"
    problem = f" ({core.problem})" if core.problem else ""
    due = "never" if core.deadline_s is None else f"{core.deadline_s:g}"
    return f"{core.state.value}, {acts}, holder {core.holder or 'nobody'}, next at {due}{problem}"


TABLE = Table(
    start=Start(),
    make=lambda start: Leadership(start.settings, start.identity, 0.0),
    events=get_args(LeadershipEvent),
    state=state,
    short=short,
    say=say,
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
