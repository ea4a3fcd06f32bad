"""Which closed periods take nothing more, now that their last day is over."""

from __future__ import annotations

from datetime import UTC, datetime

from fasttree.v1 import types_pb2
from services.shared.domain.updates import OWN_ID_PREFIX
from services.shared.rules import Rules


def seals(rules: Rules, now_s: float) -> list[types_pb2.Update]:
    """A record for each period whose last day for what comes late is over. `now_s`: seconds since 1970, believed."""
    today = f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%d}"
    return [
        types_pb2.Update(
            update_id=f"{OWN_ID_PREFIX}sealed-{late.period}",
            period_sealed=types_pb2.PeriodSealed(period=late.period),
        )
        for late in rules.late_periods
        if late.until < today
    ]
