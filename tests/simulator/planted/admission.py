"""Bugs in the admission of pushes: budgets, the order of receipts, waits for nodes, and what a commit is told as."""

from __future__ import annotations

import dataclasses
from typing import Any

from services.pusher.admission import messages
from services.pusher.admission.acks import Acks, WaitOver
from services.pusher.admission.admission import Admission
from services.pusher.admission.budget import Budget
from services.pusher.admission.events import Answer
from services.pusher.admission.progress import PushedBatch, PushStream
from services.pusher.log import group_commit
from services.pusher.log.group_commit import NotStored, Push, Results
from services.pusher.log.store import Appended
from tests.simulator.planted.planting import plant


def _answer_at_once(
    self: Admission[Any], stream: PushStream[Any], pushed: PushedBatch[Any], now_s: float
) -> Answer[Any] | None:
    """A batch that the log has is as good as stored: at the positions that come next, if all goes well."""
    if pushed.result is None and pushed.batch.ack_range is None:
        last = max([0, *self.acks._healthy.values()])
        pushed.result = Appended(None, range(last + 1, last + 1 + len(pushed.batch.update_ids)))
    return _ANSWER(self, stream, pushed, now_s)


_ANSWER = Admission._answer


def _give_back_twice(self: Budget, cost: int) -> None:
    """Once when the log has answered, once when the client has."""
    _GIVE_BACK(self, cost)
    _GIVE_BACK(self, min(cost, self.taken))


_GIVE_BACK = Budget.give_back


def _keep_after_failure(
    self: Admission[Any], pushed: PushedBatch[Any], result: Appended | NotStored, now_s: float
) -> None:
    """What could not be stored is never given back."""
    if isinstance(result, NotStored):
        self.budget.take(pushed.cost)
    _SETTLE(self, pushed, result, now_s)


_SETTLE = Admission._settle


def _whatever_is_due(self: Admission[Any], stream: PushStream[Any], now_s: float) -> list[Any]:
    """A batch that waits for nodes holds nobody up."""
    for place, pushed in enumerate(stream.owed):
        if pushed.result is not None and pushed.batch.ack_range is None:
            del stream.owed[place]
            stream.owed.appendleft(pushed)
            break
    return _RESPOND(self, stream, now_s)


_RESPOND = Admission._respond


def _nobody_is_next(_self: Admission[Any], _now_s: float) -> list[Any]:
    """Budget that comes back is for those who come then."""
    return []


def _late_is_reached(self: Acks, now_s: float) -> list[WaitOver]:
    return [dataclasses.replace(wait, reached=True) for wait in _LATE(self, now_s)]


_LATE = Acks._late


def _conflicts_are_duplicates(batch: Any, appended: Appended) -> list[Any]:
    """The id is known, and that is enough."""
    positions = list(appended.positions)
    for index, position in appended.conflicts.items():
        positions[index] = position
    return _STORED(batch, Appended(None, positions, appended.duplicates | set(appended.conflicts), {}))


_STORED = messages._stored


def _share_alike(group: list[Push[Any]], appended: Appended) -> Results:
    """Each push of a commit is told the first one's positions."""
    return [
        (push.number, dataclasses.replace(result, positions=appended.positions[: len(push.update_ids)]))
        for push, (_, result) in zip(group, _SHARE_OUT(group, appended), strict=True)
        if isinstance(result, Appended)
    ]


_SHARE_OUT = group_commit.share_out


ADMISSION = (
    plant("receipt-at-once", "a receipt leaves before its batch is stored", Admission, "_answer", _answer_at_once, 20),
    plant("budget-back-twice", "what a batch took is given back twice", Budget, "give_back", _give_back_twice, 20),
    plant("budget-kept", "a push that fails keeps its budget", Admission, "_settle", _keep_after_failure, 80),
    plant("queued-for-good", "who waits for budget is forgotten", Admission, "_admit_queued", _nobody_is_next, 20),
    plant("receipts-out-of-order", "a later batch is answered first", Admission, "_respond", _whatever_is_due, 20),
    plant("late-as-confirmed", "a wait that timed out is told as confirmed", Acks, "_late", _late_is_reached, 20),
    plant(
        "conflict-as-duplicate", "other content counts as a repeat", messages, "_stored", _conflicts_are_duplicates, 20
    ),
    plant(
        "shares-alike", "all pushes of a commit get the first one's share", group_commit, "share_out", _share_alike, 20
    ),
)
