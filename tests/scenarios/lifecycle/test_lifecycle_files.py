"""A node's life cycle. Short form: an event's name in small letters, and why: `drain_asked "by the test"`."""

from __future__ import annotations

from dataclasses import dataclass

from services.treenode.node.lifecycle import Happened, IllegalTransitionError, LifeCycle, LifeEvent
from tests.scenarios.driver import Table, Timeless, of_folder


@dataclass(frozen=True)
class Start:
    """A life begins in one way."""


def short(words: list[str], timeless: Timeless[LifeCycle]) -> object | None:
    name, *why = words
    known = name.upper() in LifeEvent.__members__
    return Happened(LifeEvent[name.upper()], " ".join(why)) if known else None


def state(timeless: Timeless[LifeCycle], now_s: float) -> str:
    """Where the node is in its life."""
    return timeless.core.state.name.lower() + (", ready" if timeless.core.ready else "")


TABLE = Table(
    start=Start(),
    make=lambda _: Timeless(LifeCycle()),
    events=(Happened,),
    state=state,
    errors=(IllegalTransitionError,),
    short=short,
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
