"""The order in which a node takes updates: one log, one position after another, each once.

The rules:

1. A node's state is one of (log_id, import_id, position). It takes the record at position + 1 and no other. A record
   at or before its position is a repeat: skipped without a look. A record further on is a gap: an error of the
   sender, nothing from there on is taken.
2. Positions of two logs can't be compared, and another log is no reason to give up what the node has: a pusher whose
   disk was not mounted has another log, too. The node refuses it (`RefusePusher`), and serves on. Only where the hello
   says that an operator has put that log in the place of the node's own does it go over (`GoOver`): it begins empty
   there, and serves its old tree until it has an import of the new log (`DropOldTree`). A node without any state takes
   the log_id that it hears.
3. A log that ends before the node's position has lost what it had acknowledged. The node refuses it, too: dropping the
   node's state could drop the last copy of those updates. Where an operator goes on with such a log, it has another id.
4. A node that the log can't bring on by records alone needs a base: a peer's snapshot or an import. That is one whose
   next record is no longer kept, and an empty one in a cluster with an import in force. It takes no records until it
   has the base (`FindBase`), since they would all be held or be replayed again.
   An import in force that can't be built here, because a record that it needs is damaged in the log, has to come as a
   peer's snapshot too. Meanwhile the node serves what it has, and takes records: the snapshot follows the log, from
   behind the damage, to where the node is. The next hello ends this: that pusher's log may have been mended.
5. A tree that is taken (a snapshot or an import) may be further on than the node, never further back; the records up
   to its position are then repeats.
6. The node has caught up when its import is the newest in force, when it is where the log ended as the pusher
   introduced itself, and when no more than `caught_up_lag_updates` are missing: under load the end runs ahead all the
   time. From then on it could be served, but for what others have been answered meanwhile: it first gets to where the
   log ended at that moment, and no end is waited for after that one.
7. A node whose engine fails at an update *halts* before it: it takes no record from there on, and all else goes on. It
   lacks nothing that it could have, so it counts as caught up there. Its tree may be an older one of its own by then,
   where the failure left none to be trusted. It goes on once the update at fault is skipped, or a tree is taken that
   is past it. One that has taken an update which is skipped has no tree at all: it sets its state aside.
8. Fresh at T means: at T, by the pusher's clock, the node lacked nothing. A log end heard at T counts when the node's
   position gets there, however late that is. The newest word counts, also where it is earlier: a clock that had jumped
   ahead is believed no longer than it says so.
9. A node that hears no pusher has the ready nodes of its log for the log's end: it is behind where one serves a newer
   import, or an update that it lacks. It would not get that one soon, as one that hears a pusher does: so it may lack
   none. Where it stands at its halt, only the import counts.
"""

from collections import deque
from collections.abc import Sequence

from services.treenode.node.sequence_events import (
    AnswerStatus,
    ApplyRecords,
    DropOldTree,
    FindBase,
    GoOver,
    Halt,
    LogEnd,
    LogEndHeard,
    LogUnreadable,
    PusherHello,
    RecordsApplied,
    RecordsReceived,
    RefusePusher,
    SequenceAction,
    SequenceEvent,
    SetAside,
    StateLost,
    TreeTaken,
    UpdateFailed,
)

#: Log ends that wait for the node's position to get there. When there are more, the newer ones wait their turn.
PENDING_ENDS_MAX = 64

_MEND = "bring back the log that it was, or say `fasttree log adopt` to go on with this one"


class PositionGapError(Exception):
    """Records that do not follow what the node has. The text names both positions."""


class SequenceCore:
    """Where the node stands in its log, and what it may take next. No clock and no tree inside."""

    def __init__(self, *, caught_up_lag_updates: int) -> None:
        self._caught_up_lag_updates = caught_up_lag_updates
        #: The log that `position` counts in; empty until the first contact.
        self.log_id = ""
        #: The import under the tree; 0 for the empty one.
        self.import_id = 0
        #: Everything up to here was applied, held or rejected. Falls only at a `StateLost`, another log, or a halt.
        self.position = 0
        #: Of the pushers that it has heard of, the newest; one of an older epoch is refused.
        self.pusher_epoch = 0
        #: The log of the tree that is served, where that is not `log_id` (rule 2); empty where it is.
        self.old_log_id = ""
        #: The log of the pusher that is refused (rules 2 and 3), and why; empty while none is.
        self.refused_log_id = ""
        self.refused_reason = ""
        #: The newest word on the log's end; None before the first.
        self.log_end: LogEnd | None = None
        #: When the node last lacked nothing, by the pusher's clock; None if it never heard so.
        self.fresh_at_s: float | None = None
        #: Why records can't bring the node on (rule 4); None while they can.
        self.base_wanted: str | None = None
        #: Why it takes no further record, and which; None while it goes on (rule 7). Always beyond `position`.
        self.halt: Halt | None = None
        #: Whether records wait for that base too.
        self.records_wait = False
        #: The import that the log can't be read for, if any, and why.
        self._unbuildable = LogUnreadable(0, "")
        #: Where the log ended when the pusher last introduced itself; once that and all else of rule 6 was reached,
        #: where it ended then.
        self._target_position = 0
        #: Whether it was, since.
        self._was_near = False
        #: Log ends beyond `position`, rising.
        self._pending_ends: deque[tuple[int, float]] = deque()

    @property
    def empty(self) -> bool:
        """Whether the node has nothing at all: no import and no update."""
        return self.import_id == 0 and self.position == 0

    @property
    def lag_updates(self) -> int:
        """How many updates the log has that the node lacks, as far as it knows."""
        return max(0, self.log_end.position - self.position) if self.log_end else 0

    @property
    def within_reach(self) -> int:
        """The last position that records should bring the node to, as far as it knows."""
        end = self.log_end.position if self.log_end else 0
        return end if self.halt is None else min(end, self.halt.before - 1)

    @property
    def caught_up(self) -> bool:
        """Whether the node lacks nothing (rule 6)."""
        return self._has_base and (self._is_near or self._stands_at_halt)

    @property
    def _has_base(self) -> bool:
        return self.log_end is not None and self.base_wanted is None and self.import_id >= self.log_end.import_id

    @property
    def _is_near(self) -> bool:
        return self.position >= self._target_position and self.lag_updates <= self._caught_up_lag_updates

    def is_behind(self, import_id: int, position: int) -> bool:
        """Whether another tree of this log, at that import and position, has more than this node (rule 9)."""
        return self.import_id < import_id or (self.position < position and not self._stands_at_halt)

    @property
    def _stands_at_halt(self) -> bool:
        return self.halt is not None and self.position + 1 == self.halt.before

    @property
    def base_import_id(self) -> int:
        """The oldest import that a base may be of."""
        unbuildable = self._unbuildable.import_id
        return unbuildable if self.import_id < unbuildable else self.import_id

    def why_unbuildable(self, import_id: int) -> str:
        """Why that import, which is in force, can't be built from its file (rule 4); empty where it can."""
        return self._unbuildable.reason if import_id == self._unbuildable.import_id else ""

    def handle(self, event: SequenceEvent) -> list[SequenceAction]:
        """Takes the event and returns what is to be done, in order.

        Raises PositionGapError for records that can't be taken, ValueError for events that can't be true.
        """
        match event:
            case RecordsReceived():
                return self._admit(event.positions)
            case RecordsApplied():
                self._advance(event.position)
                return []
            case PusherHello():
                return self._meet(event)
            case LogEndHeard():
                return self._hear(event.log_end)
            case TreeTaken():
                return self._take_tree(event)
            case LogUnreadable():
                return self._give_up_building(event)
            case UpdateFailed():
                return self._halt(event)
            case StateLost():
                return self._lose(event)

    def _admit(self, positions: Sequence[int]) -> list[SequenceAction]:
        if not positions or self.records_wait:
            return []
        first, last = positions[0], positions[-1]
        one_by_one = range(first, last + 1)
        if positions != one_by_one and list(positions) != list(one_by_one):
            raise PositionGapError(f"records from {first} to {last} are not one after another")
        if first > self.position + 1:
            raise PositionGapError(f"record {first} after {self.position}; {self.position + 1} is next")
        repeats = min(len(positions), self.position + 1 - first)
        count = len(positions) - repeats
        if self.halt is not None:
            count = min(count, self.halt.before - 1 - self.position)
        return [ApplyRecords(repeats, count)] if count else []

    def _halt(self, failed: UpdateFailed) -> list[SequenceAction]:
        if not failed.position < failed.halt.before:
            raise ValueError(f"sequence: halts before {failed.halt.before} with a tree at {failed.position}")
        self.position, self.halt = failed.position, failed.halt
        return [AnswerStatus()]

    def _lose(self, lost: StateLost) -> list[SequenceAction]:
        """Rule 7: joins anew, as a node that went over to this log would."""
        log_id, log_end = self.log_id, self.log_end
        self._forget()
        self.halt = lost.halt
        return [SetAside(lost.reason, log_id), *(self._begin(log_end) if log_end is not None else [AnswerStatus()])]

    def _advance(self, position: int) -> None:
        if position < self.position:
            raise ValueError(f"sequence: applied up to {position} after {self.position}")
        if self.halt is not None and position >= self.halt.before:
            self.halt = None
        self.position = position
        while self._pending_ends and self._pending_ends[0][0] <= position:
            self.fresh_at_s = self._pending_ends.popleft()[1]
        self._come_near()

    def _come_near(self) -> None:
        """Rule 6: sets the last position to get to."""
        if not self._was_near and self.log_end is not None and self._has_base and self._is_near:
            self._was_near = True
            self._target_position = self.log_end.position

    def _meet(self, hello: PusherHello) -> list[SequenceAction]:
        if not hello.log_id:
            return [RefusePusher("the pusher's hello has no log_id")]
        if 0 < hello.epoch < self.pusher_epoch:
            return [RefusePusher(f"pusher epoch {hello.epoch} is over: epoch {self.pusher_epoch} has begun")]
        self.pusher_epoch = max(self.pusher_epoch, hello.epoch)
        if self.log_id and self.log_id != hello.log_id and (self.old_log_id or not self.empty):
            return self._meet_other_log(hello)
        if self.position > hello.log_end.position:
            return self._refuse(
                hello.log_id,
                f"the log ends at {hello.log_end.position}, but this node has updates up to {self.position}: the log "
                f"has lost updates; {_MEND}",
            )
        if self.log_id and self.log_id != hello.log_id:
            self._forget()  # there is nothing but what was said of another log's end
        self._accept(hello.log_id)
        if self.halt is not None and {self.halt.before, self.halt.fault_position} & set(hello.skipped):
            self.halt = None
        return self._begin(hello.log_end)

    def _meet_other_log(self, hello: PusherHello) -> list[SequenceAction]:
        own = {self.log_id, self.old_log_id} - {""}
        if own.isdisjoint(hello.replaced_log_ids):
            what = f"its state is of log {self.log_id}, the pusher's is {hello.log_id}"
            return self._refuse(hello.log_id, f"{what}; {_MEND}")
        reason = f"log {hello.log_id} took the place of {self.log_id}: {hello.adopted_reason}"
        if not self.empty:
            self.old_log_id = self.old_log_id or self.log_id
        self._accept(hello.log_id)
        self._forget()
        return [GoOver(reason, hello.log_id), *self._begin(hello.log_end)]

    def _refuse(self, log_id: str, reason: str) -> list[SequenceAction]:
        self.refused_log_id, self.refused_reason = log_id, reason
        return [RefusePusher(reason)]

    def _accept(self, log_id: str) -> None:
        self.log_id = log_id
        self.refused_log_id = self.refused_reason = ""
        self._unbuildable = LogUnreadable(0, "")

    def _begin(self, log_end: LogEnd) -> list[SequenceAction]:
        self._target_position, self._was_near = log_end.position, False
        self._hear(log_end)
        # Asked for anew with each hello: where this pusher can be reached, a base may be had.
        wanted = [FindBase(self.base_wanted)] if self.base_wanted is not None else []
        return [*wanted, AnswerStatus()]

    def _hear(self, log_end: LogEnd) -> list[SequenceAction]:
        self.log_end = log_end
        if log_end.sent_at_s > 0 and self.import_id >= log_end.import_id:
            if log_end.position <= self.position:
                self.fresh_at_s = log_end.sent_at_s
            elif len(self._pending_ends) < PENDING_ENDS_MAX and log_end.position >= self._newest_pending_position():
                self._pending_ends.append((log_end.position, log_end.sent_at_s))
        before = self.base_wanted
        behind = self._why_base(log_end)
        self.records_wait = behind is not None
        self.base_wanted = behind or self._why_snapshot(log_end)
        self._come_near()
        return [FindBase(self.base_wanted)] if self.base_wanted and before is None else []

    def _give_up_building(self, unreadable: LogUnreadable) -> list[SequenceAction]:
        log_end = self.log_end
        # One that no node has taken yet is the rollout's to refuse: nobody could have a snapshot of it.
        if log_end is None or unreadable.import_id > log_end.import_id:
            return []
        self._unbuildable = unreadable
        return self._hear(log_end)

    def _why_base(self, log_end: LogEnd) -> str | None:
        if self.empty and log_end.import_id > 0:
            return f"the node is empty, and import {log_end.import_id} is in force"
        if self.position + 1 < log_end.first_position:
            return f"update {self.position + 1} is next, but the log begins at {log_end.first_position}"
        return None

    def _why_snapshot(self, log_end: LogEnd) -> str | None:
        wanted = self._unbuildable
        if self.import_id < wanted.import_id <= log_end.import_id:
            return f"import {wanted.import_id} is in force, but can't be built: {wanted.reason}"
        return None

    def _take_tree(self, tree: TreeTaken) -> list[SequenceAction]:
        if tree.log_id and self.log_id and tree.log_id != self.log_id:
            raise ValueError(f"sequence: a tree of log {tree.log_id} in a node of log {self.log_id}")
        if tree.position < self.position:
            raise ValueError(f"sequence: a tree at {tree.position} in a node at {self.position}")
        self.log_id = tree.log_id or self.log_id
        self.import_id = tree.import_id
        self._advance(tree.position)
        if self.log_end is None:
            return []
        dropped: list[SequenceAction] = []
        if self.old_log_id and tree.import_id:
            self.old_log_id = ""
            dropped.append(DropOldTree())
        return [*dropped, *self._hear(self.log_end), AnswerStatus()]

    def _forget(self) -> None:
        """Begins empty. What this log has to say of its end comes right after."""
        self.import_id = 0
        self.position = 0
        self.fresh_at_s = None
        self.halt = None
        self._unbuildable = LogUnreadable(0, "")
        self._pending_ends.clear()

    def _newest_pending_position(self) -> int:
        return self._pending_ends[-1][0] if self._pending_ends else 0

    def validate(self) -> None:
        """Raises AssertionError on a broken invariant."""
        if self._pending_ends:
            ends = [position for position, _ in self._pending_ends]
            if len(ends) > PENDING_ENDS_MAX or ends != sorted(ends) or ends[0] <= self.position:
                raise AssertionError(f"log ends {ends} wait for position {self.position}")
        if self.position < 0 or self.import_id < 0:
            raise AssertionError(f"position {self.position} or import {self.import_id} below 0")
        if self.position > 0 and self.log_end is not None and not self.log_id:
            raise AssertionError("updates of no log")
        if self.halt is not None and self.halt.before <= self.position:
            raise AssertionError(f"halts before {self.halt.before} at position {self.position}")
        if self.old_log_id and self.import_id:
            raise AssertionError(f"a tree of log {self.old_log_id} is served beside import {self.import_id}")
        if bool(self.refused_log_id) != bool(self.refused_reason):
            raise AssertionError(f"log {self.refused_log_id} is refused for {self.refused_reason!r}")
        if self.base_wanted is None:
            if self.records_wait:
                raise AssertionError("records wait for no base")
        elif self.caught_up:
            raise AssertionError("caught up without a base")
