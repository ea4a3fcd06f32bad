"""Whether an update may be skipped, by what the log and the nodes say of it; no I/O.

The rules:

1. Only an update that is in the log, and only one that is at fault: a node has halted before it or can't build an
   import for it, or its record is damaged. What is only unwanted is mended by another update.
2. None of the pusher's own records, and none that changes the rules: they are what every node goes by, and the door.
3. Each once: the first reason stays.
4. Where a node has taken it, the fault is more likely that of the node that can't: it needs the operator's `force`.
   Such a node joins anew then, and the ones that halted serve meanwhile. Where all have taken it nobody would serve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from services.shared.domain.limits import SKIPS_MAX
from services.shared.domain.sentences import quoted
from services.shared.domain.updates import OWN_ID_PREFIX, skip_reason_problem

#: How the ids of the records of decisions begin; the position follows.
SKIP_ID_PREFIX = f"{OWN_ID_PREFIX}skip/"


class SkipProblem(Enum):
    """Why an update may not be skipped."""

    MALFORMED = "malformed"
    NOT_IN_LOG = "not in the log"
    NOT_AT_FAULT = "not at fault"
    OWN_RECORD = "the pusher's own record"
    SKIPPED_ALREADY = "skipped already"
    TAKEN = "a node has taken it"
    TOO_MANY = "too many"


@dataclass(frozen=True, slots=True)
class Refused:
    """The decision is not taken."""

    problem: SkipProblem
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the update."""

    #: Empty where the position is not in the log.
    update_id: str
    #: Whether its record can't be read.
    is_damaged: bool
    #: Nodes that name it as at fault.
    named_by: Sequence[str]
    #: Nodes that have taken it, and those that have not.
    taken_by: Sequence[str]
    not_taken_by: Sequence[str] = ()
    #: Whether it changes the rules.
    is_rule: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """The operator's word."""

    position: int
    reason: str
    force: bool = False


def refused(wanted: Wanted, evidence: Evidence, known: Mapping[int, str]) -> Refused | None:
    """Why the decision is not taken; None where it is. `known`: the reason of each earlier one, by position."""
    position, at_fault = wanted.position, evidence.named_by or evidence.is_damaged
    if problem := skip_reason_problem(wanted.reason):
        return Refused(SkipProblem.MALFORMED, problem)
    if position in known:
        text = f"update {position} is skipped already: {quoted(known[position])}"
        return Refused(SkipProblem.SKIPPED_ALREADY, text)
    if not evidence.update_id:
        return Refused(SkipProblem.NOT_IN_LOG, f"update {position} is not in the log")
    if evidence.update_id.startswith(OWN_ID_PREFIX):
        text = f"update {position} ({evidence.update_id}) is the pusher's own record, which every node needs"
        return Refused(SkipProblem.OWN_RECORD, text)
    if evidence.is_rule:
        text = (
            f"update {position} changes the rules, which every node needs alike: upgrade the nodes that can't take it"
        )
        return Refused(SkipProblem.OWN_RECORD, text)
    if not at_fault:
        text = (
            f"nothing shows that update {position} is at fault: no node has halted before it, and its record is sound"
        )
        return Refused(SkipProblem.NOT_AT_FAULT, text)
    if evidence.taken_by and not evidence.not_taken_by:
        text = f"every node took update {position}: none would serve meanwhile; import a file of a later position"
        return Refused(SkipProblem.TAKEN, text)
    if evidence.taken_by and not wanted.force:
        able, unable = ", ".join(evidence.taken_by), ", ".join(evidence.named_by) or "the log"
        text = (
            f"{able} took update {position}, so the fault is likely that of {unable}: start it again, or with an empty "
            f"state folder; with force {able} joins anew without the update"
        )
        return Refused(SkipProblem.TAKEN, text)
    if len(known) >= SKIPS_MAX:
        return Refused(SkipProblem.TOO_MANY, f"{SKIPS_MAX} updates are skipped in this log: no more can be")
    return None
