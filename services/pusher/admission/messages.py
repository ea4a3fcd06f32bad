"""From a message of updates to a batch, and from what became of batches to a message of receipts.

This is the pusher's hottest code: microseconds an update.
"""

from __future__ import annotations

from collections.abc import Iterable

from google.rpc import code_pb2

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.admission.acks import AckRange
from services.pusher.admission.batch import MESSAGE_UPDATES_MAX, Batch, Content, Malformed
from services.pusher.admission.events import Answer
from services.pusher.fanout.events import KnownOutcome
from services.pusher.log.group_commit import AppendProblem, NotStored
from services.pusher.log.store import Appended
from services.shared.domain.updates import order_problem, size_problem, update_id_problem, update_problem
from services.shared.rules import Rules, is_rule
from services.shared.wire.record import content_bytes, order_bytes

_RANGES = {pusher_pb2.ACK_LEVEL_ONE_NODE: AckRange.ONE_NODE, pusher_pb2.ACK_LEVEL_ALL_NODES: AckRange.ALL_NODES}
_LEVELS = frozenset(pusher_pb2.AckLevel.values())
LEVEL_FORM = f"ack_level {{}} is none: use one of {', '.join(pusher_pb2.AckLevel.keys()[1:])}"
_OUTCOMES = {
    KnownOutcome.UNKNOWN: types_pb2.OUTCOME_UNSPECIFIED,
    KnownOutcome.APPLIED: types_pb2.OUTCOME_APPLIED,
    KnownOutcome.HELD: types_pb2.OUTCOME_HELD,
    KnownOutcome.REJECTED: types_pb2.OUTCOME_REJECTED,
}
#: What happens to one member; anything else decides for all.
_OF_MEMBERS = frozenset(("member_enrolled", "member_changed", "member_moved", "member_removed", "volume_posted"))


def batch_of(request: pusher_pb2.PushUpdatesRequest, rules: Rules) -> Batch[bytes]:
    """Checks every update, and encodes the well-formed ones. `rules`: those in force."""
    updates, orders, to_judge = request.updates, rules.orders, False
    update_ids: list[str] = []
    contents: list[bytes] = []
    malformed: dict[int, Malformed] = {}
    decisions: list[int] = []
    level_problem = None if request.ack_level in _LEVELS else LEVEL_FORM.format(request.ack_level)
    if len(updates) <= MESSAGE_UPDATES_MAX:  # the core takes none of a message with more
        for index, update in enumerate(updates):
            update_id = update.update_id
            problem = level_problem or update_id_problem(update_id)
            content = b""
            if problem is None and update.HasField("volume_posted"):
                order = update.volume_posted
                is_known = (order.volume_type, order.period) in orders
                problem = order_problem(order, is_known=is_known)
                if problem is None:
                    to_judge, content = to_judge or not is_known, order_bytes(update)
            elif problem is None:
                problem = update_problem(update)
                if problem is None:
                    to_judge, content = to_judge or is_rule(update), content_bytes(update)
                    if update.WhichOneof("change") not in _OF_MEMBERS:
                        decisions.append(index)
            problem = problem or size_problem(len(content))
            if problem is None:
                update_ids.append(update_id)
                contents.append(content)
                continue
            malformed[index] = Malformed(update_id, problem)
    size_bytes = sum(map(len, contents))
    ack_range = _RANGES.get(request.ack_level)
    return Batch(
        len(updates), update_ids, contents, size_bytes, ack_range, malformed, rules, to_judge, decisions=decisions
    )


def response_of(answers: Iterable[Answer[Content]]) -> pusher_pb2.PushUpdatesResponse:
    """Receipts of all updates of some batches, in their order."""
    receipts: list[pusher_pb2.Receipt] = []
    for answer in answers:
        receipts += _receipts(answer)
    return pusher_pb2.PushUpdatesResponse(receipts=receipts)


def _receipts(answer: Answer[Content]) -> list[pusher_pb2.Receipt]:
    batch, result = answer.batch, answer.result
    if isinstance(result, NotStored):
        receipts = _refusals(batch, result)
    else:
        receipts = _stored(batch, result)
        if answer.confirmed is not None:
            _add_outcomes(receipts, answer)
    return _merged(batch, receipts) if batch.malformed else receipts


def _stored(batch: Batch[Content], appended: Appended) -> list[pusher_pb2.Receipt]:
    """Of the well-formed updates of a batch that is durable."""
    make = pusher_pb2.Receipt
    receipts = [
        make(update_id=update_id, position=position)
        for update_id, position in zip(batch.update_ids, appended.positions, strict=True)
    ]
    for index, reason in appended.refusals.items():
        receipts[index].code = code_pb2.FAILED_PRECONDITION
        receipts[index].message = reason
    for index in appended.duplicates:
        receipts[index].duplicate = True
    for index, position in appended.conflicts.items():
        receipts[index].code = code_pb2.ALREADY_EXISTS
        receipts[index].message = (
            f"update_id {batch.update_ids[index]} was taken at position {position} with other content; "
            "a new change needs an id of its own"
        )
    return receipts


def _add_outcomes(receipts: list[pusher_pb2.Receipt], answer: Answer[Content]) -> None:
    for receipt, outcome in zip(receipts, answer.outcomes, strict=True):
        if not receipt.position:
            continue
        receipt.outcome = _OUTCOMES[outcome]
        if not answer.confirmed:
            receipt.code = code_pb2.UNAVAILABLE
            receipt.message = "durable, but not confirmed by the nodes asked for in time; it will reach them"


def _refusals(batch: Batch[Content], result: NotStored) -> list[pusher_pb2.Receipt]:
    code, message = code_pb2.DATA_LOSS, str(result.error)
    if result.problem is AppendProblem.FULL:
        code, message = code_pb2.RESOURCE_EXHAUSTED, f"the log takes nothing now, push again later: {result.error}"
    return [pusher_pb2.Receipt(update_id=update_id, code=code, message=message) for update_id in batch.update_ids]


def _merged(batch: Batch[Content], receipts: list[pusher_pb2.Receipt]) -> list[pusher_pb2.Receipt]:
    """With those of the malformed updates in their places."""
    well_formed = iter(receipts)
    merged: list[pusher_pb2.Receipt] = []
    for index in range(batch.updates):
        malformed = batch.malformed.get(index)
        if malformed is None:
            merged.append(next(well_formed))
        else:
            merged.append(
                pusher_pb2.Receipt(
                    update_id=malformed.update_id, code=code_pb2.INVALID_ARGUMENT, message=malformed.problem
                )
            )
    return merged
