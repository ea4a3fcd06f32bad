"""What the rules say of updates before they are in the log, one after another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fasttree.v1 import types_pb2
from services.shared.rules.changes import CHANGES, Refused, changed
from services.shared.rules.rules import Rules

#: What every refusal at the door ends with.
NOTHING_STORED: Final = "nothing was stored, and the same update_id can be pushed again once it can be taken"


@dataclass(frozen=True)
class Judgement:
    """What the rules say.

    Attributes:
        refusals: Why updates are not taken, by their index.
        rules: Indexes of those that change the rules.
        after: The rules after all that are taken.
    """

    refusals: Mapping[int, str]
    rules: tuple[int, ...]
    after: Rules


def judge(
    rules: Rules,
    updates: Iterable[types_pb2.Update],
    known: Collection[str],
    untimely: Callable[[types_pb2.Update], str | None] = lambda update: None,
) -> Judgement:
    """Judges well-formed updates in their order; not those whose ids are `known`: they are in the log already.

    `untimely`: why the door, which has a clock, does not take a change of the rules that they themselves would take.
    """
    seen = set(known)
    refusals: dict[int, str] = {}
    changes: list[int] = []
    for index, update in enumerate(updates):
        if update.update_id in seen:
            continue
        kind = update.WhichOneof("change")
        problem = None
        if kind == "volume_posted":
            problem = refusal_of(rules, update.volume_posted)
        elif kind is not None and kind in CHANGES:
            after = changed(rules, kind, getattr(update, kind))
            reason = after.reason if isinstance(after, Refused) else untimely(update)
            if reason is not None:
                problem = f"{reason}; {NOTHING_STORED}"
            elif not isinstance(after, Refused):
                changes.append(index)
                rules = after
        if problem is None:
            seen.add(update.update_id)
        else:
            refusals[index] = problem
    return Judgement(refusals, tuple(changes), rules)


def refusal_of(rules: Rules, posted: types_pb2.VolumePosted) -> str | None:
    """Why the rules don't take an order, with what to do; None where they do."""
    problem = rules.order_problem(posted.volume_type, posted.period)
    return problem and f"{problem}; {NOTHING_STORED}"
