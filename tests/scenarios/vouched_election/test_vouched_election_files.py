"""The election of one of several coordinators, which vouch for a primary. Short forms as those of `election`."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any, get_args

from services.coordinator.election.events import Event, Persist
from services.coordinator.election.seat import ElectionError
from services.coordinator.election.vouching import VouchedElection
from tests.scenarios.driver import Table, of_folder
from tests.scenarios.election import test_election_files as elections


class ToldVouchedElection(VouchedElection):
    """The core, and what the short forms leave out."""

    def __init__(self, start: elections.Start) -> None:
        super().__init__(start.settings, start.recorded, start.hosts, 0.0)
        self.requests = itertools.count(1)
        self.sequences: dict[str, int] = defaultdict(int)


def short(words: list[str], core: Any) -> object | None:
    return elections.short(words, core)


def say(action: Any) -> str | None:
    said = elections.say(action)
    return f"{said} contested" if isinstance(action, Persist) and action.recorded.contested else said


def state(core: Any, now_s: float) -> str:
    return elections.state(core, now_s) + (", contested" if core.recorded.contested else "")


TABLE = Table(
    start=elections.Start(),
    make=ToldVouchedElection,
    events=get_args(Event),
    state=state,
    errors=(ElectionError,),
    short=short,
    say=say,
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
