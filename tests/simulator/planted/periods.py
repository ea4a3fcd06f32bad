"""Bugs in what nodes keep of closed months."""

from __future__ import annotations

from services.treenode.periods.keeping import (
    Damaged,
    Keeping,
    KeepingAction,
    KeepingEvent,
    Kept,
    Stands,
    WriteFailed,
)
from tests.simulator.planted.planting import plant


def _only_what_is_missing(self: Keeping, state: Kept) -> bool:
    """What a node has it does not look at again."""
    return state.log_id == self._log_id and state.period in self.missing


def _damage_unheard(self: Keeping, event: KeepingEvent, now_s: float) -> list[KeepingAction]:
    return [] if isinstance(event, Damaged) else _HANDLE(self, event, now_s)


def _writes_on(self: Keeping, event: KeepingEvent, now_s: float) -> list[KeepingAction]:
    """A write that has failed is still under way."""
    if isinstance(event, WriteFailed):
        self._look_soon(now_s)
        return []
    return _HANDLE(self, event, now_s)


_HANDLE = Keeping.handle


def _any_log(self: Keeping, event: Stands, now_s: float) -> list[KeepingAction]:
    """What is of the log before stays."""
    held = dict(self.held)
    actions = _STAND(self, event, now_s)
    self.held = held
    return [] if actions else actions


_STAND = Keeping._stand


PERIODS = (
    plant("month-first-come", "a better state takes another's place", Keeping, "_is_useful", _only_what_is_missing),
    plant("month-damage-unheard", "a damaged state is set aside", Keeping, "handle", _damage_unheard),
    plant("month-written-for-ever", "what could not be written is looked for", Keeping, "handle", _writes_on),
    plant("month-of-any-log", "states of another log are set aside", Keeping, "_stand", _any_log),
)
