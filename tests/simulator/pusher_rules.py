"""The pusher's rules in the simulator: the first record of a log, and the days that make seals due.

A day takes DAY_S seconds here. The clock that is believed, and what is due by it, are the real ones.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fasttree.v1 import types_pb2
from services.pusher.rules.founding import FOUNDED_ID
from services.pusher.rules.sealing import seals, untimely
from services.shared.clock import SettledWallClock
from services.shared.rules import Rules, rules_message
from tests.simulator.toy_rules import FIRST
from tests.simulator.toy_tree import RULE, Update

if TYPE_CHECKING:
    from tests.simulator.pusher_log import PusherLog
    from tests.simulator.world import Clock

DAY_S = 24.0
_BEGAN_S = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
_SETTLE_S = 10.0


def calendar_s(wall_s: float) -> float:
    """Seconds since 1970, by a wall clock of this world."""
    return _BEGAN_S + wall_s * 86_400.0 / DAY_S


def day_of(wall_s: float, later_days: int = 0) -> str:
    """The day that it is, or one that is so much later."""
    return f"{datetime.fromtimestamp(calendar_s(wall_s), UTC) + timedelta(days=later_days):%Y-%m-%d}"


def rule(update_id: str, change: types_pb2.Update) -> Update:
    """A change of the rules, as an update of this world."""
    return Update(update_id, RULE, 0, 0, 0, change.SerializeToString(deterministic=True))


def found(log: PusherLog) -> None:
    """The first record of a new log. Blocks, and is alone."""
    if not log.updates:
        change = types_pb2.Update(rules_founded=types_pb2.RulesFounded(rules=rules_message(FIRST)))
        log.append([FOUNDED_ID], [rule(FOUNDED_ID, change)])


class Calendar:
    """What the days that have passed make due."""

    def __init__(self, clock: Clock) -> None:
        self._machine, self._clock = clock, SettledWallClock(_SETTLE_S)

    def overdue(self, rules: Rules) -> list[types_pb2.Update]:
        """A seal for each late month whose last day is over."""
        believed_s = self._clock.note(self._machine.wall(), self._machine.now())
        return [] if believed_s is None else seals(rules, calendar_s(believed_s))

    def due(self, rules: Rules) -> dict[str, Update]:
        """Those records by their ids."""
        return {update.update_id: rule(update.update_id, update) for update in self.overdue(rules)}

    def untimely(self, update: types_pb2.Update) -> str | None:
        """Why it is too late for a closing."""
        wall_s = self._machine.wall()
        believed_s = self._clock.note(wall_s, self._machine.now())
        return untimely(update, calendar_s(wall_s if believed_s is None else believed_s))
