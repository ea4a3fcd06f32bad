"""The rollout core. Every event by its plain name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

from services.pusher.imports.events import Announce, CancelLoad, Load, RecordPlace, RecordTaken, RolloutEvent
from services.pusher.imports.places import KnownImport, RolloutBrokenError
from services.pusher.imports.rollout import Rollout
from services.pusher.imports.settings import RolloutSettings
from tests.scenarios.driver import Table, of_folder
from tests.scenarios.language import write_value


@dataclass(frozen=True)
class Start:
    """What the pusher knows when it starts."""

    #: `1:rolling_out:yes`: import 1, its place, and whether it is taken.
    imports: tuple[KnownImport, ...] = ()
    settings: RolloutSettings = field(default_factory=RolloutSettings)


def say(action: Any) -> str | None:
    """An action in a few words."""
    match action:
        case Load():
            how = " as it comes" if action.as_it_comes else ""
            how += "" if action.carried_of is None else f" by the tree of {action.carried_of}"
            return f"load {action.attempt}: {action.node} takes import {action.import_id}{how}{_from(action.sources)}"
        case CancelLoad():
            return f"cancel load {action.attempt}"
        case RecordTaken():
            return f"record import {action.import_id} as taken, carried {write_value(action.carried_positions)}"
        case RecordPlace():
            return f"record import {action.import_id} as {action.place}{action.reason and f': {action.reason}'}"
        case Announce():
            return f"announce import {action.import_id}"
    return None


def _from(sources: tuple[str, ...]) -> str:
    return f" from {', '.join(sources)}" if sources else ""


def state(core: Rollout, now_s: float) -> str:
    """Where each import is, and what each node serves."""
    imports = [f"{known.import_id} {known.place}" for known in core.places]
    first = f"in force {core.in_force}; {', '.join(imports) or 'no imports'}"
    nodes = []
    for node in core.nodes.values():
        does = f"serves {node.import_id}" if node.connected else "away"
        does += " of somebody else" if node.node in core.strange else ""
        role = ", primary" if node.node == core.primary else ""
        nodes.append(f"{node.node} {does}{role}{f' ({node.note})' if node.note else ''}")
    return "\n".join([first, *nodes])


TABLE = Table(
    start=Start(),
    make=lambda start: Rollout(start.settings, start.imports),
    events=get_args(RolloutEvent),
    state=state,
    errors=(RolloutBrokenError,),
    say=say,
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
