"""Whether a log may grow. Short forms:

nodes a b            the nodes that are known, all and only those
a has 100            a node says that it stands there, in this log
a has 100 of log-1   in another log
a is ahead at 100    in this log, which has lost updates
a has nothing
a is away
adopted [log-2+]     an operator has put this log (under that id) in the place of those that nodes hold
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from services.pusher.fanout.events import NodeStands, Past
from services.pusher.fanout.members import Members, MembersChanged
from services.pusher.lineage.lineage import Adopted, Door, Lineage, LineageEvent
from services.pusher.lineage.settings import LineageSettings
from tests.scenarios.driver import Table, of_folder

LOG = "log-2"


@dataclass(frozen=True)
class Start:
    """What the pusher knows when it starts."""

    vouched_for: bool = False
    doubted: bool = False
    names_nodes_later: bool = True
    replaced: tuple[str, ...] = ()


def short(words: list[str], core: Lineage) -> object | None:
    """See above."""
    match words:
        case ["nodes", *names]:
            return MembersChanged(Members(), Members(tuple(names)))
        case [name, "has", "nothing"]:
            return NodeStands(name, True, True, 0, 0, Past.OURS, LOG)
        case [name, "has", position]:
            return NodeStands(name, True, True, int(position), 1, Past.OURS, LOG)
        case [name, "has", position, "of", log_id]:
            return NodeStands(name, False, False, int(position), 1, Past.OTHER_LOG, log_id)
        case [name, "is", "ahead", "at", position]:
            return NodeStands(name, True, False, int(position), 1, Past.AHEAD, LOG)
        case [name, "is", "away"]:
            return NodeStands(name, False, False, 0, 0)
        case ["adopted", *log_id]:
            return Adopted(log_id[0] if log_id else LOG, core.contested, "the disk is gone")
    return None


def say(door: Door) -> str:
    """The door in a few words."""
    return f"closed: {door.closed}" if door.closed else "open"


def state(core: Lineage, now_s: float) -> str:
    """The door, and what an operator would be asked about."""
    told = "open" if not core.door.closed else "waits" if core.door.waits else "closed"
    return told + (f", contested by {', '.join(core.contested)}" if core.contested else "")


def make(start: Start) -> Lineage:
    return Lineage(
        LineageSettings(lineage_patience_s=10.0),
        log_id=LOG,
        vouched_for=start.vouched_for,
        doubted=start.doubted,
        replaced_log_ids=start.replaced,
        nodes=(),
        names_nodes_later=start.names_nodes_later,
        now_s=0.0,
    )


TABLE = Table(start=Start(), make=make, events=get_args(LineageEvent), state=state, short=short, say=say)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
