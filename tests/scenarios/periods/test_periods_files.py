"""What a node keeps of closed periods. A state is `PERIOD@POSITION` of import 1 and the log `log-1`; short forms:

sealing 2026-10@9            a tree is just before the record that closes it; likewise: written, failed,
                             found, fetched, damaged
… 2026-10@9 of 2             of import 2
… 2026-10@9 replayed         by a replay
… 2026-10@9 newest 2         import 2 is the newest one that the pusher has told of; of `sealing` alone
… 2026-10@9 in log-2         of another log
closed 2026-09 2026-10       the tree that is served: these are closed for good, in this order
closed in log-2 2026-10      in another log
peers n2:2026-10@9,…         what peers keep; `-`: nothing
unfetched n2:2026-10@9       it could not be fetched
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from services.shared.cores import Tick
from services.treenode.periods.keeping import (
    Damaged,
    Fetched,
    FetchFailed,
    Found,
    Keeping,
    KeepingEvent,
    Kept,
    Offer,
    PeersHave,
    RebuildEnded,
    Sealing,
    Stands,
    WriteFailed,
    Written,
)
from tests.scenarios.driver import Table, of_folder

LOG = "log-1"


@dataclass(frozen=True)
class Start:
    """What the core is made with."""

    kept_max: int = 3
    check_interval_s: float = 60.0


def kept(text: str, *further: str) -> Kept:
    """See above."""
    period, _, position = text.partition("@")
    words = dict(zip(further[::2], further[1::2], strict=False))
    return Kept(words.get("in", LOG), period, int(words.get("of", "1")), int(position), "replayed" in further)


def offer(text: str) -> Offer:
    peer, _, state = text.partition(":")
    name, *further = state.split("/")
    return Offer(peer, kept(name, *further))


def short(words: list[str], core: Keeping) -> KeepingEvent | None:
    """See above."""
    match words:
        case ["found", *state]:
            return Found(kept(*state))
        case ["sealing", *state]:
            made = kept(*state)
            newest = int(state[state.index("newest") + 1]) if "newest" in state else made.import_id
            return Sealing(replace(made, replayed=False), is_served=not made.replayed, newest_import=newest)
        case ["written", *state]:
            return Written(kept(*state))
        case ["failed", *state]:
            return WriteFailed(kept(*state), "no space")
        case ["fetched", *state]:
            return Fetched(kept(*state))
        case ["damaged", *state]:
            return Damaged(kept(*state), "a checksum is wrong")
        case ["closed", "in", log_id, *periods]:
            return Stands(log_id, tuple(periods))
        case ["closed", *periods]:
            return Stands(LOG, tuple(periods))
        case ["peers", "-"]:
            return PeersHave(())
        case ["peers", offers]:
            return PeersHave(tuple(map(offer, offers.split(","))))
        case ["unfetched", text]:
            return FetchFailed(offer(text), "it was cut off")
        case ["rebuilt", *reason]:
            return RebuildEnded(" ".join(reason))
    return None


def said(state: Kept) -> str:
    """A state, as above."""
    text = f"{state.period}@{state.position}"
    text += f" of {state.import_id}" if state.import_id != 1 else ""
    text += " replayed" if state.replayed else ""
    return text + (f" in {state.log_id}" if state.log_id != LOG else "")


def say(action: Any) -> str | None:
    """Actions about a state."""
    state = getattr(action, "state", None)
    if state is None and hasattr(action, "offer"):
        return f"{type(action).__name__} {said(action.offer.state)} from {action.offer.peer}"
    if state is None:
        return None
    reason = getattr(action, "reason", "")
    return f"{type(action).__name__} {said(state)}" + (f": {reason}" if reason else "")


def state(core: Keeping, now_s: float) -> str:
    """What it has, and why it has not what it should have."""
    held = ", ".join(said(each) for _, each in sorted(core.held.items())) or "nothing"
    lines = [f"keeps {held}"]
    if core.writing:
        lines.append("writes " + ", ".join(said(each) for _, each in sorted(core.writing.items())))
    coming = [period for period in core.missing if core.is_coming(period)]
    if coming:
        lines.append(f"looks for {', '.join(coming)}")
    lines += [f"lacks {period}: {why}" for period, why in sorted(core.problems.items())]
    return "\n".join(lines)


TABLE = Table(
    start=Start(),
    make=lambda start: Keeping(start.kept_max, start.check_interval_s),
    events=(),
    state=state,
    short=short,
    say=say,
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)


def test_a_period_is_coming_while_it_is_written_or_looked_for() -> None:
    core = Keeping(kept_max=3, check_interval_s=60.0)
    periods = ("2026-09", "2026-10", "2026-11")
    begun: list[KeepingEvent] = [Stands(LOG, periods), Found(kept("2026-09@2")), Sealing(kept("2026-10@9"))]
    for event in begun:
        core.handle(event, 0.0)
    assert [core.is_coming(period) for period in periods] == [False, True, True]
    round_in_vain: list[KeepingEvent] = [Tick(), PeersHave(()), RebuildEnded()]
    for event in round_in_vain:
        core.handle(event, 0.0)
    assert [core.is_coming(period) for period in periods] == [False, True, False], "looked for in vain"
