"""The limits of callers. Short forms: `anna` or `anna stream` is a call of hers that comes, `anna ends` or `anna stream
ends` the end of one, `in common ends` that of one that was let in in common. Leaders' names begin with `leader-`."""

from __future__ import annotations

from dataclasses import dataclass

from services.shared.serving.callers.limits import CallerLimits, Came, Ended, InCommon, Kind, Refused, Terms
from tests.scenarios.driver import Table, of_folder
from tests.scenarios.language import write_value


@dataclass(frozen=True)
class Start:
    """What a caller may have, and how many are remembered."""

    calls: int = 3
    streams: int = 2
    per_s: float = 10.0
    burst_s: float = 1.0
    leader_per_s: float = 1.0
    remembered: int = 10


def make(start: Start) -> CallerLimits:
    terms = Terms(start.calls, start.streams, start.per_s, start.burst_s)
    leader = Terms(start.calls, start.streams, start.leader_per_s, start.burst_s)
    return CallerLimits({Kind.NAMED: terms, Kind.ADDRESS: terms, Kind.LEADER: leader}, start.remembered)


def short(words: list[str], core: CallerLimits) -> object | None:
    match words:
        case ["in", "common", "ends"]:
            return Ended("")
        case [name, *rest] if rest in ([], ["stream"], ["ends"], ["stream", "ends"]) and name[0].islower():
            kind = Kind.LEADER if name.startswith("leader-") else Kind.NAMED
            return (Ended if "ends" in rest else Came)(name, kind, "stream" in rest)
    return None


def say(action: Refused | InCommon) -> str | None:
    if isinstance(action, InCommon):
        return "let in, in common"
    if action.retry_after_s is None:
        return f"refused: {action.limit}"
    return f"refused: {action.limit}, again in {write_value(round(action.retry_after_s, 3))}"


def state(core: CallerLimits, now_s: float) -> str:
    """Who has what under way."""
    calls, streams = core.under_way("")
    lines = [f"{name}: {core.under_way(name)[0]} calls, {core.under_way(name)[1]} streams" for name in core.remembered]
    return "\n".join(lines + ([f"in common: {calls} calls, {streams} streams"] if calls else [])) or "nobody"


TABLE = Table(start=Start(), make=make, events=(Came, Ended), state=state, short=short, say=say)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
