"""A node's sequence core. Every event by its plain name; a log's end is `FIRST POSITION IMPORT_ID [SENT_AT_S]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from services.treenode.node.sequence import PositionGapError, SequenceCore
from services.treenode.node.sequence_events import (
    SequenceEvent,
)
from tests.scenarios.driver import Table, Timeless, of_folder
from tests.scenarios.language import write_value


@dataclass(frozen=True)
class Start:
    """What the core is made with."""

    caught_up_lag_updates: int = 0


def state(timeless: Timeless[SequenceCore], now_s: float) -> str:
    """Where the node stands, and what it lacks."""
    core = timeless.core
    stands = f"log {write_value(core.log_id)}, import {core.import_id}, position {core.position}"
    lack = "caught up" if core.caught_up else f"lags {core.lag_updates}" if core.log_end else "no pusher heard"
    fresh = f", fresh at {write_value(core.fresh_at_s)}" if core.fresh_at_s is not None else ""
    lines = [f"{stands}, {lack}{fresh}"]
    if core.halt is not None:
        lines.append(f"halts before {core.halt.before}, at fault is {core.halt.fault_position}: {core.halt.reason}")
    if core.old_log_id:
        lines.append(f"serves the tree of log {core.old_log_id}")
    if core.refused_log_id:
        lines.append(f"refuses log {core.refused_log_id}")
    if core.base_wanted is not None:
        waits = ", and records wait" if core.records_wait else ""
        lines.append(f"wants a base of import {core.base_import_id} or later{waits}: {core.base_wanted}")
    return "\n".join(lines)


TABLE = Table(
    start=Start(),
    make=lambda start: Timeless(SequenceCore(caught_up_lag_updates=start.caught_up_lag_updates)),
    events=get_args(SequenceEvent),
    state=state,
    errors=(PositionGapError, ValueError),
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
