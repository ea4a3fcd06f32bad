"""What is in force at a position of the log: periods, volume types, columns, what removals
and imports may do, the version of what updates mean.

A *rule* decides the effect of an update, so it is an update itself: nobody's settings are asked what an order does. One
value (`Rules`) and one function that changes it (`changed`) are used alike by the pusher's door, which refuses what
can't have an effect, and by every tree, whose state the rules are a part of. Updates and messages come in; new rules,
or a sentence that says what is wrong, leave. No I/O, no clock: that a day has passed is told by a record, too.
"""

from services.shared.rules.changes import CHANGES, Refused, changed
from services.shared.rules.history import RulesHistory, is_rule, meant_at
from services.shared.rules.judging import Judgement, judge, refusal_of
from services.shared.rules.rules import (
    NO_RULES,
    RULE_VERSION,
    DeclaredColumn,
    LatePeriod,
    Rules,
    founding,
    rules_from,
    rules_message,
    rules_of,
    version_problem,
    with_more,
)

__all__ = [
    "CHANGES",
    "NO_RULES",
    "RULE_VERSION",
    "DeclaredColumn",
    "Judgement",
    "LatePeriod",
    "Refused",
    "Rules",
    "RulesHistory",
    "changed",
    "founding",
    "is_rule",
    "judge",
    "meant_at",
    "refusal_of",
    "rules_from",
    "rules_message",
    "rules_of",
    "version_problem",
    "with_more",
]
