"""The order of records: a random sender against the core."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.treenode.node.sequence import (
    PENDING_ENDS_MAX,
    AnswerStatus,
    ApplyRecords,
    LogEnd,
    LogEndHeard,
    PositionGapError,
    PusherHello,
    RecordsApplied,
    RecordsReceived,
    SequenceCore,
)


def hello(end: int, *, log_id: str = "log", first: int = 1, import_id: int = 0, sent_at_s: float = 0.0) -> PusherHello:
    return PusherHello(log_id, LogEnd(first, end, import_id, sent_at_s))


def heard(end: int, *, import_id: int = 0, sent_at_s: float = 0.0) -> LogEndHeard:
    return LogEndHeard(LogEnd(1, end, import_id, sent_at_s))


def test_waiting_log_ends_are_bounded() -> None:
    core = SequenceCore()
    for end in range(1, 3 * PENDING_ENDS_MAX):
        core.handle(heard(end, sent_at_s=float(end)))
        core.validate()
    core.handle(RecordsApplied(3 * PENDING_ENDS_MAX))
    assert core.fresh_at_s == PENDING_ENDS_MAX


class SenderWalk(RuleBasedStateMachine):
    """A sender that repeats, skips and starts over; what the core admits is what a list would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.core = SequenceCore()
        self.core.handle(hello(1_000))
        self.taken: list[int] = []

    @rule(first=st.integers(1, 60), count=st.integers(0, 20))
    def send(self, first: int, count: int) -> None:
        positions = range(first, first + count)
        if count and first > len(self.taken) + 1:
            with pytest.raises(PositionGapError):
                self.core.handle(RecordsReceived(positions))
            return
        for action in self.core.handle(RecordsReceived(positions)):
            assert isinstance(action, ApplyRecords)
            self.taken += positions[action.first : action.first + action.count]
            self.core.handle(RecordsApplied(self.taken[-1]))

    @rule()
    def start_over(self) -> None:
        assert self.core.handle(hello(1_000)) == [AnswerStatus()]

    @invariant()
    def each_position_once_and_in_order(self) -> None:
        self.core.validate()
        assert self.taken == list(range(1, len(self.taken) + 1))
        assert self.core.position == len(self.taken)


TestSenderWalk = SenderWalk.TestCase
TestSenderWalk.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
