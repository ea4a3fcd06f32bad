"""Bugs in a node: its role, the order of records, imports, snapshots, reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.treenode.node.node import NodeCore
from services.treenode.node.role import LeaseAnswered, RoleCore
from services.treenode.node.sequence import SequenceCore
from services.treenode.node.sequence_events import (
    ApplyRecords,
    StateLost,
)
from tests.simulator import node_halts
from tests.simulator.messages import Record
from tests.simulator.node_process import NodeProcess
from tests.simulator.node_state import Snapshot
from tests.simulator.planted.planting import Planted, plant
from tests.simulator.toy_tree import Update


def _swapped(self: NodeProcess, records: tuple[Record, ...]) -> None:
    _APPLY(self, (*records[-2:][::-1], *records[:-2][::-1]) if len(records) == 2 else records)


_APPLY = NodeProcess.apply


def _repeats_too(self: SequenceCore, positions: Any) -> list[Any]:
    actions = _ADMIT(self, positions)
    return [ApplyRecords(0, len(positions))] if actions else []


_ADMIT = SequenceCore._admit


def _lease_from_receipt(self: RoleCore, answer: LeaseAnswered, now: float) -> list[Any]:
    """The lease runs from when the answer came, not from when the heartbeat left."""
    if answer.sequence in self._sent_at_s:
        self._sent_at_s[answer.sequence] = now
    return _TAKE_ANSWER(self, answer, now)


def _never_demotes(self: RoleCore, now: float) -> list[Any]:
    """The lease is only looked at when an answer comes."""
    self._now_s = now
    return []


_TAKE_ANSWER = RoleCore._take_answer


def _serve_at_once(self: NodeProcess, _min_position: int, answer: Callable[[bool], None]) -> None:
    answer(self.core.life.ready)


def _sound_snapshot(_self: NodeProcess, _saved: Snapshot) -> bool:
    return True


def _ban_skipped(self: NodeProcess, position: int, update: Update) -> None:
    """The second node forgets to note rejected updates, so that its digest is another one."""
    if self.name == "node-2" and update.kind == 3:
        self.history.applied(self.name, self.tree.position, position, update)
        self.tree.position = position
    else:
        _APPLY_ONE(self, position, update)


_APPLY_ONE = NodeProcess.apply_one


def _lose_and_try_again(self: SequenceCore, lost: StateLost) -> list[Any]:
    return _LOSE(self, StateLost(lost.reason))


_LOSE = SequenceCore._lose


def _serves_beside(_self: NodeCore, _answer: LeaseAnswered, _now_s: float) -> None:
    """What the coordinator says of the other nodes is not heard."""


def _held_back_for_ever(self: NodeCore, answer: LeaseAnswered, now_s: float) -> None:
    """That it is behind is never taken back."""
    until_s = self._held_back_until_s
    _HEAR_OF_OTHERS(self, answer, now_s)
    self._held_back_until_s = max(until_s, self._held_back_until_s + (_LONG_S if self.behind else 0.0))


def _held_back_once(self: NodeCore, answer: LeaseAnswered, now_s: float) -> None:
    """Only the first word counts: what others have later on is not heard."""
    if not self._word_sequence:
        _HEAR_OF_OTHERS(self, answer, now_s)


_HEAR_OF_OTHERS = NodeCore._hear_of_others
_LONG_S = 1e6


def _takes_bare_for_a_tree(_self: NodeCore) -> bool:
    """A state of before the first import is as good as any."""
    return False


def _hears_no_skips(_node: NodeProcess, _skipped: tuple[int, ...]) -> None:
    """The node's tree is not told what is skipped."""


def _no_end_but_the_first(_self: SequenceCore) -> None:
    """Near is ready: what others were answered with meanwhile is not waited for."""


def _lacks_few(self: SequenceCore) -> bool:
    return self.lag_updates <= self._caught_up_lag_updates


NODE = (
    plant("out-of-order", "two records are applied in the wrong order", NodeProcess, "apply", _swapped),
    plant("repeats-applied", "records that came again are applied again", SequenceCore, "_admit", _repeats_too),
    plant("damaged-snapshot", "a snapshot's checksum is not checked", NodeProcess, "is_sound", _sound_snapshot),
    plant("nodes-differ", "one node forgets rejected updates", NodeProcess, "apply_one", _ban_skipped),
    plant("stale-read", "min_position is ignored", NodeProcess, "serve_read", _serve_at_once),
    plant(
        "lease-from-receipt",
        "a lease runs from its answer's arrival",
        RoleCore,
        "_take_answer",
        _lease_from_receipt,
    ),
    plant(
        "no-self-demotion",
        "a node whose lease is over stays primary",
        RoleCore,
        "_end_lease_in_time",
        _never_demotes,
    ),
    plant(
        "broken-again",
        "an update that broke the tree is not tried again",
        SequenceCore,
        "_lose",
        _lose_and_try_again,
    ),
    plant(
        "serves-beside",
        "a node without a pusher serves beside one that has more",
        NodeCore,
        "_hear_of_others",
        _serves_beside,
    ),
    plant(
        "held-back-for-ever",
        "once no other node is ready, an old answer beats none",
        NodeCore,
        "_hear_of_others",
        _held_back_for_ever,
    ),
    plant(
        "held-back-once",
        "each word of the coordinator counts, not the first one",
        NodeCore,
        "_hear_of_others",
        _held_back_once,
    ),
    plant(
        "bare-served",
        "a node with a state of before the first import answers nothing",
        NodeCore,
        "_has_nothing",
        property(_takes_bare_for_a_tree),
    ),
    plant(
        "ready-when-near",
        "a node near the log's end is ready without what the log has by then",
        SequenceCore,
        "_come_near",
        _no_end_but_the_first,
    ),
    Planted(
        "ready-behind-the-hello",
        "where the log ended as the pusher came is not waited for",
        ((SequenceCore, "_is_near", property(_lacks_few)), (SequenceCore, "_come_near", _no_end_but_the_first)),
    ),
    plant(
        "skips-unheard", "what is skipped is rejected when its turn comes", node_halts, "hear_skips", _hears_no_skips
    ),
)
