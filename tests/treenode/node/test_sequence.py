"""The order of records: scenarios, and a random sender against the core."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.treenode.node.sequence import (
    PENDING_ENDS_MAX,
    AnswerStatus,
    ApplyRecords,
    FindBase,
    LogEnd,
    LogEndHeard,
    LogUnreadable,
    PositionGapError,
    PusherHello,
    RecordsApplied,
    RecordsReceived,
    RefusePusher,
    SequenceCore,
    SequenceEvent,
    SetAside,
    TreeTaken,
)


def hello(end: int, *, log_id: str = "log", first: int = 1, import_id: int = 0, sent_at_s: float = 0.0) -> PusherHello:
    return PusherHello(log_id, LogEnd(first, end, import_id, sent_at_s))


def heard(end: int, *, import_id: int = 0, sent_at_s: float = 0.0) -> LogEndHeard:
    return LogEndHeard(LogEnd(1, end, import_id, sent_at_s))


def received(first: int, last: int) -> RecordsReceived:
    return RecordsReceived(range(first, last + 1))


#: name -> (event, expected actions, position afterwards, caught up afterwards); an exception stands for itself.
Script = list[tuple[SequenceEvent, list[Any], int, bool]]
SCRIPTS: dict[str, Script] = {
    "an empty node in a cluster without an import": [
        (hello(0), [AnswerStatus()], 0, True),
        (received(1, 3), [ApplyRecords(0, 3)], 0, True),
        (RecordsApplied(3), [], 3, True),
        (heard(5), [], 3, False),
        (received(4, 5), [ApplyRecords(0, 2)], 3, False),
        (RecordsApplied(5), [], 5, True),
    ],
    "repeats are skipped": [
        (hello(9), [AnswerStatus()], 0, False),
        (received(1, 4), [ApplyRecords(0, 4)], 0, False),
        (RecordsApplied(4), [], 4, False),
        (received(1, 4), [], 4, False),
        (received(3, 6), [ApplyRecords(2, 2)], 4, False),
        (RecordsReceived([]), [], 4, False),
    ],
    "an empty node in a cluster with an import takes no records before its base": [
        (
            hello(90, import_id=2),
            [FindBase("the node is empty, and import 2 is in force"), AnswerStatus()],
            0,
            False,
        ),
        (received(1, 5), [], 0, False),
        (heard(91, import_id=2), [], 0, False),
        (TreeTaken("log", 2, 80), [AnswerStatus()], 80, False),
        (received(75, 82), [ApplyRecords(6, 2)], 80, False),
        (RecordsApplied(91), [], 91, True),
    ],
    "a node behind the log's beginning needs a base": [
        (TreeTaken("log", 1, 10), [], 10, False),
        (
            hello(90, first=21, import_id=1),
            [FindBase("update 11 is next, but the log begins at 21"), AnswerStatus()],
            10,
            False,
        ),
        (received(21, 30), [], 10, False),
        (
            hello(90, first=21, import_id=1),
            [FindBase("update 11 is next, but the log begins at 21"), AnswerStatus()],
            10,
            False,
        ),
        (TreeTaken("log", 1, 90), [AnswerStatus()], 90, True),
    ],
    "the log's first kept record is the next one: no base needed": [
        (TreeTaken("log", 1, 20), [], 20, False),
        (hello(21, first=21, import_id=1), [AnswerStatus()], 20, False),
    ],
    "another log": [
        (TreeTaken("old", 3, 50), [], 50, False),
        (
            hello(7, log_id="new"),
            [SetAside("its state is of log old, the pusher's is new", "new"), AnswerStatus()],
            0,
            False,
        ),
        (received(1, 7), [ApplyRecords(0, 7)], 0, False),
    ],
    "an older import than the one in force": [
        (TreeTaken("log", 3, 50), [], 50, False),
        (hello(50, import_id=4), [AnswerStatus()], 50, False),
        (TreeTaken("", 4, 50), [AnswerStatus()], 50, True),
    ],
    "an import that the log can't be read for": [
        (TreeTaken("log", 1, 10), [], 10, False),
        (hello(12, import_id=1), [AnswerStatus()], 10, False),
        # Not in force: the rollout's to refuse.
        (LogUnreadable(2, "record 7 is damaged"), [], 10, False),
        (heard(12, import_id=2), [], 10, False),
        (
            LogUnreadable(2, "record 7 is damaged"),
            [FindBase("import 2 is in force, but can't be built: record 7 is damaged")],
            10,
            False,
        ),
        # Records go on meanwhile.
        (received(11, 12), [ApplyRecords(0, 2)], 10, False),
        (RecordsApplied(12), [], 12, False),
        (TreeTaken("", 2, 12), [AnswerStatus()], 12, True),
    ],
    "a new hello may be of a mended log": [
        (TreeTaken("log", 1, 10), [], 10, False),
        (hello(10, import_id=2), [AnswerStatus()], 10, False),
        (LogUnreadable(2, "broken"), [FindBase("import 2 is in force, but can't be built: broken")], 10, False),
        (hello(10, import_id=2), [AnswerStatus()], 10, False),
    ],
    "caught up means where the log ended at the hello": [
        (hello(3), [AnswerStatus()], 0, False),
        (RecordsApplied(3), [], 3, True),
    ],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(name: str) -> None:
    core = SequenceCore()
    for event, expected, position, caught_up in SCRIPTS[name]:
        assert core.handle(event) == expected, event
        core.validate()
        assert (core.position, core.caught_up) == (position, caught_up), event


def test_a_log_that_lost_its_tail_is_refused_and_changes_nothing() -> None:
    core = SequenceCore()
    core.handle(TreeTaken("log", 1, 50))
    (action,) = core.handle(hello(49, import_id=1))
    assert isinstance(action, RefusePusher)
    assert "50" in action.reason
    assert "49" in action.reason
    assert (core.position, core.log_end) == (50, None)
    assert isinstance(core.handle(PusherHello("", LogEnd(1, 90, 1)))[0], RefusePusher)


@pytest.mark.parametrize("positions", [[2], [7, 8], [1, 3], [1, 3, 2, 4], [2, 1], [1, 1]])
def test_gaps_are_errors_and_change_nothing(positions: list[int]) -> None:
    core = SequenceCore()
    core.handle(hello(9))
    with pytest.raises(PositionGapError):
        core.handle(RecordsReceived(positions))
    core.validate()
    assert core.position == 0


def test_positions_never_fall() -> None:
    core = SequenceCore()
    core.handle(TreeTaken("log", 1, 50))
    for event in (RecordsApplied(49), TreeTaken("log", 2, 49), TreeTaken("other", 2, 60)):
        with pytest.raises(ValueError, match="sequence:"):
            core.handle(event)
        assert (core.log_id, core.import_id, core.position) == ("log", 1, 50)


def test_a_lag_within_bounds_counts_as_caught_up_only_past_the_hellos_end() -> None:
    core = SequenceCore(caught_up_lag_updates=10)
    core.handle(hello(5))
    assert not core.caught_up
    core.handle(RecordsApplied(5))
    core.handle(heard(15))
    assert core.caught_up
    assert core.lag_updates == 10
    core.handle(heard(16))
    assert not core.caught_up


def test_fresh_as_of_the_log_end_that_was_reached() -> None:
    core = SequenceCore()
    core.handle(hello(2, sent_at_s=100.0))
    assert core.fresh_at_s is None
    core.handle(heard(4, sent_at_s=101.0))
    core.handle(RecordsApplied(3))
    assert core.fresh_at_s == 100.0
    core.handle(RecordsApplied(4))
    assert core.fresh_at_s == 101.0
    core.handle(heard(4, sent_at_s=102.0))
    assert core.fresh_at_s == 102.0
    core.handle(heard(4, import_id=1, sent_at_s=103.0))
    assert core.fresh_at_s == 102.0


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
