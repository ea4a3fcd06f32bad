"""Commission periods, as the rules at the log's end have them."""

from __future__ import annotations

from fasttree.v1 import types_pb2


def period_rows(rules: types_pb2.Rules) -> list[tuple[str, str, str]]:
    """(period, state, last day for what comes late)."""
    others = [each for each in rules.open_periods if each != rules.current_period]
    return [
        *([(rules.current_period, "current", "")] if rules.current_period else []),
        *[(each, "open", "") for each in others],
        *[(each.period, "late", each.late_until) for each in rules.late_periods],
        *[(each, "closed", "") for each in reversed(rules.sealed_periods)],
    ]
