"""Bugs in what becomes of a log that is not the nodes' own: taken for the truth, or forgotten too early."""

from __future__ import annotations

from typing import Any

from services.pusher.lineage.lineage import Door, Lineage
from services.treenode.node.sequence import SequenceCore
from services.treenode.node.sequence_events import (
    PusherHello,
)
from tests.simulator.node_process import NodeProcess
from tests.simulator.node_reads import WaitingReads
from tests.simulator.planted.planting import plant
from tests.simulator.pusher_process import PusherProcess
from tests.simulator.toy_tree import ToyTree


def _any_log_is_adopted(self: SequenceCore, hello: PusherHello) -> list[Any]:
    """Another log is as good as an operator's word."""
    adopted = PusherHello(hello.log_id, hello.log_end, (), (self.log_id,), "it is there")
    return _MEET_OTHER_LOG(self, adopted)


_MEET_OTHER_LOG = SequenceCore._meet_other_log


def _always_open(_self: Lineage, _now_s: float) -> Door:
    return Door()


def _waits_for_nobody(_self: Lineage, _spoken: int, _now_s: float) -> None:
    return None


def _only_the_new_tree(self: NodeProcess) -> ToyTree:
    """The tree that updates go to is shown, whatever was there before."""
    return self.in_force.tree


def _any_position(self: WaitingReads, position: int) -> bool:
    """A position of the old log is as good as one of the new."""
    return self._node.served.position >= position


def _keeps_its_id(self: PusherProcess) -> None:
    """A log that lost updates gives out their positions anew under the same id."""
    log_id = self.log_id
    _ADOPT(self)
    self.log_id = self.replication.log_id = log_id


_ADOPT = PusherProcess.adopt


LINEAGE = (
    plant("any-log-adopted", "nodes go over to every log", SequenceCore, "_meet_other_log", _any_log_is_adopted),
    plant("door-always-open", "a log that no node shares takes pushes", Lineage, "_judge", _always_open),
    plant("waits-for-nobody", "an empty log takes pushes before nodes spoke", Lineage, "_wait", _waits_for_nobody),
    plant(
        "emptied-at-once",
        "the old tree goes before the new one is in",
        NodeProcess,
        "served",
        property(_only_the_new_tree),
    ),
    plant("position-of-old-log", "min_position is met by the old tree", WaitingReads, "has", _any_position),
    plant("adopted-under-its-id", "a log that lost updates keeps its id", PusherProcess, "adopt", _keeps_its_id),
)
