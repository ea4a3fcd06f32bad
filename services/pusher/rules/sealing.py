"""Which closed periods take nothing more, now that their last day is over; and which closing comes after its own."""

from __future__ import annotations

from datetime import UTC, datetime

from fasttree.v1 import types_pb2
from services.shared.domain.updates import OWN_ID_PREFIX
from services.shared.rules import Rules


def seals(rules: Rules, now_s: float) -> list[types_pb2.Update]:
    """A record for each period whose last day for what comes late is over. `now_s`: seconds since 1970, believed."""
    today = _day(now_s)
    return [
        types_pb2.Update(
            update_id=f"{OWN_ID_PREFIX}sealed-{late.period}",
            period_sealed=types_pb2.PeriodSealed(period=late.period),
        )
        for late in rules.late_periods
        if late.until < today
    ]


def untimely(update: types_pb2.Update, now_s: float) -> str | None:
    """Why a closing comes too late for its own last day, with the mend; None for every other update.

    It would seal the period at once, for good, though days for what comes late were asked for.
    """
    until, today = update.period_closed.late_until, _day(now_s)
    if not until or until >= today:
        return None
    period = update.period_closed.period
    return (
        f"late_until: {until} is over, by the pusher's clock it is {today} (UTC): period {period} would be closed for "
        "good at once; give a day that is not over, or none if it is to be closed for good"
    )


def _day(now_s: float) -> str:
    return f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%d}"
