"""The order of records: random pushers against the core."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.treenode.node.sequence import PositionGapError, SequenceCore
from services.treenode.node.sequence_events import (
    AnswerStatus,
    ApplyRecords,
    DropOldTree,
    FindBase,
    GoOver,
    LogEnd,
    LogEndHeard,
    LogUnreadable,
    PusherHello,
    RecordsApplied,
    RecordsReceived,
    RefusePusher,
    TreeTaken,
)


def test_nothing_is_missing_before_anybody_says_so() -> None:
    assert SequenceCore(caught_up_lag_updates=1).lag_updates == 0


def test_why_an_import_can_not_be_built_is_said_of_that_import() -> None:
    core = SequenceCore(caught_up_lag_updates=1)
    core.handle(PusherHello("log", LogEnd(1, 9, 4)))
    core.handle(LogUnreadable(4, "record 7 is damaged"))
    assert core.why_unbuildable(4) == "record 7 is damaged"
    assert core.why_unbuildable(3) == core.why_unbuildable(5) == ""


def test_a_pusher_of_an_epoch_that_is_over_is_refused() -> None:
    core = SequenceCore(caught_up_lag_updates=1)
    end = LogEnd(1, 9, 0)
    core.handle(PusherHello("log", end, epoch=3))
    (refusal,) = core.handle(PusherHello("log", end, epoch=2))
    assert refusal == RefusePusher("pusher epoch 2 is over: epoch 3 has begun")
    # In its own epoch again, in a newer one, and the only pusher, which nobody gives epochs.
    for epoch in (3, 4, 0):
        assert not any(isinstance(each, RefusePusher) for each in core.handle(PusherHello("log", end, epoch=epoch)))


class SequenceWalk(RuleBasedStateMachine):
    """Pushers of two logs that say and send anything, against the rules written down once more as definitions."""

    def __init__(self) -> None:
        super().__init__()
        self.core = SequenceCore(caught_up_lag_updates=1)
        self.clock_s = 0.0
        #: The log of the tree that is served, where that is another one; and the one that is refused.
        self.old_log_id = self.refused = ""
        self.begin("")

    def begin(self, log_id: str) -> None:
        self.log_id, self.import_id, self.position = log_id, 0, 0
        self.log_end: LogEnd | None = None
        self.target = self.unbuildable = 0
        self.was_near = False
        #: Where the log ended when the node heard so, and when that was; only while it lacked no import.
        self.ends: list[tuple[int, float]] = []

    # -- what holds by definition

    @property
    def is_empty(self) -> bool:
        return self.import_id == self.position == 0

    @property
    def records_wait(self) -> bool:
        end = self.log_end
        empty = self.import_id == self.position == 0
        return end is not None and ((empty and end.import_id > 0) or self.position + 1 < end.first_position)

    @property
    def wants_base(self) -> bool:
        end = self.log_end
        return self.records_wait or (end is not None and self.import_id < self.unbuildable <= end.import_id)

    @property
    def caught_up(self) -> bool:
        end = self.log_end
        if end is None or self.wants_base or self.import_id < end.import_id:
            return False
        return self.position >= self.target and end.position - self.position <= 1

    def come_near(self) -> None:
        """What it would be served for, but for what others have by then."""
        if self.log_end is not None and self.caught_up and not self.was_near:
            self.was_near, self.target = True, self.log_end.position

    def hear(self, end: LogEnd) -> None:
        self.log_end = end
        if self.import_id >= end.import_id:
            self.ends.append((end.position, end.sent_at_s))

    def end_of_log(self, ahead: int, kept: int, import_id: int) -> LogEnd:
        self.clock_s += 1.0
        position = max(self.position, self.log_end.position if self.log_end else 0) + ahead
        return LogEnd(max(1, position + 1 - kept), position, import_id, self.clock_s)

    # -- what happens

    @rule(
        log_id=st.sampled_from(["one", "one", "one", "two"]),
        ahead=st.integers(0, 4),
        kept=st.integers(0, 9),
        import_id=st.integers(0, 2),
        replaces=st.sampled_from([(), ("one", "two"), ("three",)]),
    )
    def meet(self, log_id: str, ahead: int, kept: int, import_id: int, replaces: tuple[str, ...]) -> None:
        other = self.log_id not in ("", log_id)
        end = self.end_of_log(ahead, kept, import_id)
        actions = self.core.handle(PusherHello(log_id, end, (), replaces, "it is lost" if replaces else ""))
        stands_elsewhere = other and (self.old_log_id or not self.is_empty)
        if stands_elsewhere and not {self.log_id, self.old_log_id} & set(replaces):
            assert [type(action) for action in actions] == [RefusePusher]
            self.refused = log_id
            return
        self.refused = ""
        if other:
            self.old_log_id = self.old_log_id or ("" if self.is_empty else self.log_id)
            self.begin(log_id)
        self.log_id, self.unbuildable, self.target, self.was_near = log_id, 0, end.position, False
        self.hear(end)
        expected = [GoOver] * bool(stands_elsewhere) + [FindBase] * self.wants_base + [AnswerStatus]
        assert [type(action) for action in actions] == expected

    @rule(lost=st.integers(1, 3))
    def meet_one_that_lost_updates(self, lost: int) -> None:
        if self.log_id and self.position >= lost:
            end = LogEnd(1, self.position - lost, 9, self.clock_s)
            (refusal,) = self.core.handle(PusherHello(self.log_id, end))
            assert isinstance(refusal, RefusePusher)
            self.refused = self.log_id

    @precondition(lambda self: self.log_end is not None)
    @rule(ahead=st.integers(0, 4), kept=st.integers(0, 9), import_id=st.integers(0, 3))
    def hear_the_end(self, ahead: int, kept: int, import_id: int) -> None:
        wanted, end = self.wants_base, self.end_of_log(ahead, kept, import_id)
        actions = self.core.handle(LogEndHeard(end))
        self.hear(end)
        assert [type(action) for action in actions] == [FindBase] * (self.wants_base and not wanted)

    @precondition(lambda self: self.log_end is not None)
    @rule(ahead=st.integers(-3, 3), count=st.integers(0, 5))
    def send(self, ahead: int, count: int) -> None:
        first = max(1, self.position + 1 + ahead)
        positions = range(first, first + count)
        if count and not self.records_wait and first > self.position + 1:
            with pytest.raises(PositionGapError):
                self.core.handle(RecordsReceived(positions))
            return
        new = [] if self.records_wait else [position for position in positions if position > self.position]
        actions = self.core.handle(RecordsReceived(positions))
        assert actions == ([ApplyRecords(count - len(new), len(new))] if new else [])
        if new:
            assert self.core.handle(RecordsApplied(new[-1])) == []
            self.position = new[-1]

    @rule(import_id=st.integers(0, 3), ahead=st.integers(0, 3), knows_log=st.booleans())
    def take_tree(self, import_id: int, ahead: int, knows_log: bool) -> None:
        wanted = self.wants_base
        self.import_id, self.position = import_id, self.position + ahead
        actions = self.core.handle(TreeTaken(self.log_id if knows_log else "", import_id, self.position))
        dropped = [DropOldTree] * bool(self.old_log_id and import_id)
        if dropped:
            self.old_log_id = ""
        if self.log_end is None:
            assert [type(action) for action in actions] == dropped
            return
        self.hear(self.log_end)
        expected = dropped + [FindBase] * (self.wants_base and not wanted) + [AnswerStatus]
        assert [type(action) for action in actions] == expected

    @rule(import_id=st.integers(1, 3))
    def fail_to_read_the_log(self, import_id: int) -> None:
        wanted, end = self.wants_base, self.log_end
        actions = self.core.handle(LogUnreadable(import_id, "record 7 is damaged"))
        if end is not None and import_id <= end.import_id:
            self.unbuildable = import_id
            self.hear(end)
        assert [type(action) for action in actions] == [FindBase] * (self.wants_base and not wanted)

    @invariant()
    def both_say_the_same(self) -> None:
        core = self.core
        core.validate()
        self.come_near()
        assert (core.log_id, core.import_id, core.position) == (self.log_id, self.import_id, self.position)
        assert (core.old_log_id, core.refused_log_id) == (self.old_log_id, self.refused)
        assert core.log_end == self.log_end
        assert core.empty is (self.import_id == self.position == 0)
        assert core.lag_updates == (max(0, self.log_end.position - self.position) if self.log_end else 0)
        assert (core.records_wait, core.base_wanted is not None) == (self.records_wait, self.wants_base)
        assert core.base_import_id == max(self.import_id, self.unbuildable)
        assert bool(core.why_unbuildable(self.unbuildable)) is (self.unbuildable > 0)
        assert core.why_unbuildable(self.unbuildable + 1) == ""
        assert core.caught_up is self.caught_up
        assert core.fresh_at_s == max([at_s for end, at_s in self.ends if end <= self.position], default=None)


TestSequenceWalk = SequenceWalk.TestCase
TestSequenceWalk.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
