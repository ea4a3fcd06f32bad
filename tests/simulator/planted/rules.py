"""Bugs in the rules: what is in force when, who says that a month is over, what an update left open."""

from __future__ import annotations

from fasttree.v1 import types_pb2
from services.pusher.log.group_commit import Push, RulesInForce, WriteQueue
from services.shared.rules import Rules, judging
from tests.simulator.messages import Record
from tests.simulator.node_loading import Build, Loader
from tests.simulator.node_process import NodeProcess
from tests.simulator.planted.planting import plant
from tests.simulator.pusher_imports import ImportDesk, StoredImport
from tests.simulator.pusher_log import PusherLog
from tests.simulator.pusher_rules import day_of, rule
from tests.simulator.toy_rules import FOUNDING
from tests.simulator.toy_tree import RULE, ToyTree, Update, real, resolved


def _as_it_was_checked(_self: RulesInForce[Update], push: Push[Update]) -> bool:
    """What was right when it came is right."""
    return not push.to_judge


def _never_refused(_rules: Rules, _posted: types_pb2.VolumePosted) -> None:
    """The engine will reject it."""


def _seal_when_idle(self: WriteQueue[Update, None]) -> list[Push[Update]] | None:
    """A seal waits for a moment in which nobody pushes."""
    self._may_seal = self._may_seal and not isinstance(self._waiting[0], Push)
    return _NEXT(self)


_NEXT = WriteQueue.next


def _seal_by_own_clock(self: NodeProcess, position: int, update: Update) -> None:
    """A node seals a month when its own day is over."""
    today = day_of(self.clock.wall())
    for late in self.tree.rules.late_periods:
        if late.until < today:
            seal = types_pb2.Update(period_sealed=types_pb2.PeriodSealed(period=late.period))
            self.tree._take_rule(position, rule("seal", seal))
    _APPLY_ONE(self, position, update)


_APPLY_ONE = NodeProcess.apply_one


def _as_of_now(self: ImportDesk, old: StoredImport) -> types_pb2.ImportManifest:
    """A file that comes back means what it would mean today."""
    newest = self.stamped(len(self._pusher.log))
    newest.as_of_position = old.as_of_position
    return newest


def _as_the_file(_self: Loader, build: Build, carried: list[Record]) -> list[Record]:
    """What carried orders leave open means what the file does."""
    return [(position, resolved(update, build.tree.rules)) for position, update in carried]


def _kept_records(self: PusherLog) -> list[tuple[int, types_pb2.Update]]:
    """Records of rules are trimmed as others are."""
    kept = enumerate(self.updates[self.first - 1 :], self.first)
    return [(position, real(update)) for position, update in kept if update.kind == RULE]


def _copy_without_rules(self: ToyTree) -> ToyTree:
    """A snapshot has members, and no rules."""
    twin = _COPY(self)
    twin.rules = FOUNDING
    return twin


_COPY = ToyTree.copy


RULES = (
    plant(
        "old-rules",
        "a batch is judged by the rules that it was checked under",
        RulesInForce,
        "is_plain",
        _as_it_was_checked,
    ),
    plant("door-unjudged", "orders that can have no effect are taken", judging, "refusal_of", _never_refused),
    plant(
        "late-seal",
        "what comes behind a month's last day is taken before its seal",
        WriteQueue,
        "next",
        _seal_when_idle,
    ),
    plant(
        "seal-by-own-clock",
        "a node's clock says that a month is over",
        NodeProcess,
        "apply_one",
        _seal_by_own_clock,
    ),
    plant("rules-as-of-now", "a rule record is lost on the way back to a file", ImportDesk, "meant_again", _as_of_now),
    plant("carried-as-the-file", "a carried order falls into the file's month", Loader, "meant", _as_the_file),
    plant(
        "rules-trimmed",
        "the pusher forgets rules whose records are trimmed",
        PusherLog,
        "rule_records",
        _kept_records,
    ),
    plant("rules-unsaved", "a snapshot holds no rules", ToyTree, "copy", _copy_without_rules),
)
