"""What the product tells of a machine that is busy, as the machine of the tests may be: true, and no fault of it."""

from __future__ import annotations

from typing import Final

#: Alerts of waits.
ALERTS: Final = frozenset({"FastTreeLeaseMarginThin", "FastTreeLoopHeld", "FastTreeReportsSlow"})
