"""The comparison of the nodes' digests. A node is `NAME:IMPORT:POSITION` in RoundBegun; in RoundOver an answer is
`NAME:IMPORT:DIGEST`, `-` for none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from services.pusher.comparison.comparison import Comparison, ComparisonEvent
from tests.scenarios.driver import Table, Timeless, of_folder


@dataclass(frozen=True)
class Start:
    """The core is made with nothing."""


def state(timeless: Timeless[Comparison], now_s: float) -> str:
    """What is told now."""
    known = timeless.core.known.values()
    if not known:
        return "nothing is known to differ"
    return "\n".join(
        f"import {each.import_id} at {each.position}: {','.join(each.nodes)} from {','.join(each.others) or '-'}"
        for each in known
    )


TABLE = Table(
    start=Start(),
    make=lambda start: Timeless(Comparison()),
    events=get_args(ComparisonEvent),
    state=state,
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
