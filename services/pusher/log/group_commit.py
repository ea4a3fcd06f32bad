"""Which updates share one commit, and what each push is told of it: without any I/O.

The rules
---------
1. Writes are done in the order in which they came. Whatever waits when a commit begins goes into it, push by push,
   until it has `updates_max` updates: a lone push waits for one fsync, a flood pays one for thousands. Another write
   (an import's state, a trim) goes alone, and nothing overtakes it.
2. What the rules refuse is not stored. A push says under which rules it was checked. Where other ones are in force by
   now, or one of its updates changes the rules or is refused by them, it goes alone, and its updates are judged one by
   one. A repeat of what was taken is a repeat, whatever the rules have become. New rules hold from the next update on.
3. Before anything else is written, periods are sealed whose last day for what comes late is over: so what the log has
   behind that day is judged as late, whatever woke the writer. Where that fails, one other write goes before it is
   tried again.
4. A commit is stored whole or not at all. Where it was refused because one of its ids meets a damaged record, each of
   its pushes is tried again alone, in order, before anything else: only the push with that id must fail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Generic, TypeAlias, TypeVar

from fasttree.v1 import types_pb2
from services.pusher.log.store import (
    Appended,
    LogDamagedError,
    LogGoneError,
    LogSealedError,
    LogStoreError,
    StoreFullError,
)
from services.shared.rules import NO_RULES, Rules, RulesHistory, judge

Content = TypeVar("Content")
Other = TypeVar("Other")


class AppendProblem(Enum):
    """Why a push was not stored."""

    #: No room, or the disk fails, or the log's servers refuse us something: it may work later.
    FULL = "full"
    #: A record with one of the ids is damaged, or sealed by a key that is not here, or the log's files are gone: it
    #: does not work until somebody acts.
    DAMAGED = "damaged"
    #: A fault of the program, or one that nobody thought of.
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class NotStored:
    """Nothing of a push was stored."""

    problem: AppendProblem
    error: Exception


@dataclass(frozen=True, slots=True)
class Push(Generic[Content]):
    """Updates to be stored. `number` is the caller's own."""

    number: int
    update_ids: Sequence[str]
    contents: Sequence[Content]
    #: The rules that it was checked under.
    rules: Rules = NO_RULES
    #: One of its updates changes the rules, or is refused by them.
    to_judge: bool = False
    #: Only by itself: it was in a commit that met a damaged record.
    alone: bool = False
    #: Those of its updates that are traced, as `services/pusher/tracing` has them.
    traced: Sequence[Any] = ()


#: What became of pushes, by their number.
Results: TypeAlias = list[tuple[int, Appended | NotStored]]


@dataclass(frozen=True, slots=True)
class Committed:
    """What one commit made of its pushes. What is `Appended` there is on disk."""

    results: Results


#: The number of a push of the pusher's own, whose outcome nobody waits for.
NOBODY: Final = 0

#: As `LogStore.append`.
Append: TypeAlias = Callable[..., Appended]


class RulesInForce(Generic[Content]):
    """The rules at the log's end, and what they say of updates that want in."""

    def __init__(
        self,
        history: RulesHistory,
        find: Callable[[Sequence[str]], Collection[str]],
        update_of: Callable[[Content], types_pb2.Update],
        due: Callable[[Rules], Mapping[str, Content]] = lambda rules: {},
        untimely: Callable[[types_pb2.Update], str | None] = lambda update: None,
        seal: Callable[[Rules, Append], Append] = lambda rules, append: append,
    ) -> None:
        """`find`: those of some ids that are in the log; `update_of`: the update that a content is; `due`: records that
        time has made due under these rules, by their ids. It is asked before each write, by the writer alone; and so is
        `untimely`, of each change of the rules: why the day has come too late for it. `seal`: the append of updates
        that come under these rules, which keeps back what they say is not for the log."""
        self.history = history
        self._find = find
        self._update_of = update_of
        self._due = due
        self._untimely = untimely
        self._seal = seal
        #: In force. Everybody may look; only the writer changes it.
        self.rules = history.newest

    def is_plain(self, push: Push[Content]) -> bool:
        """Whether the push may be stored as it is."""
        return push.rules is self.rules and not push.to_judge

    def due(self) -> Push[Content] | None:
        """What has to be in the log before anything else."""
        records = self._due(self.rules)
        return Push(NOBODY, list(records), list(records.values()), to_judge=True) if records else None

    def plain(self, append: Append) -> Append:
        """The append of pushes that are plain."""
        return self._seal(self.rules, append)

    def append(self, push: Push[Content], append: Append) -> Appended:
        """Stores what the rules take of a push. Raises as `append`, and then nothing has changed."""
        updates = [self._update_of(content) for content in push.contents]
        judgement = judge(self.rules, updates, self._find(push.update_ids), self._untimely)
        taken = [index for index in range(len(updates)) if index not in judgement.refusals]
        places = {index: place for place, index in enumerate(taken)}
        appended = Appended(None, ())
        if taken:
            appended = self._seal(judgement.after, append)(
                [push.update_ids[index] for index in taken],
                [push.contents[index] for index in taken],
                [places[index] for index in judgement.rules],
            )
        for index in judgement.rules:
            self.history.add(appended.positions[places[index]], updates[index])
        if judgement.rules:
            self.rules = self.history.newest
        positions = [appended.positions[places[index]] if index in places else 0 for index in range(len(updates))]
        return Appended(
            appended.run,
            positions,
            frozenset(taken[place] for place in appended.duplicates),
            {taken[place]: position for place, position in appended.conflicts.items()},
            judgement.refusals,
        )


class WriteQueue(Generic[Content, Other]):
    """Everything that waits to be written, in order."""

    def __init__(self, updates_max: int, door: RulesInForce[Content]) -> None:
        self._updates_max = updates_max
        self._door = door
        self._waiting: deque[Push[Content] | Other] = deque()
        #: The last write was none that was due: one may go first now.
        self._may_seal = True

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, write: Push[Content] | Other) -> None:
        self._waiting.append(write)

    def next(self) -> list[Push[Content]] | Other:
        """What is to be written now: the pushes of one commit, or another write. There must be one; it waits on where
        something is due before it."""
        if self._may_seal and (due := self._door.due()) is not None:
            self._may_seal = False
            return [due]
        self._may_seal = True
        waiting = self._waiting
        first = waiting.popleft()
        if not isinstance(first, Push):
            return first
        group, updates = [first], len(first.update_ids)
        if first.alone or not self._door.is_plain(first):
            return group
        while waiting and updates < self._updates_max:
            following = waiting[0]
            if not isinstance(following, Push) or following.alone or not self._door.is_plain(following):
                break
            waiting.popleft()
            group.append(following)
            updates += len(following.update_ids)
        return group

    def commit(self, group: list[Push[Content]], append: Append) -> tuple[Appended | None, Results]:
        """Stores a group by `append` (see `LogStore`); what became of it all, and of each push.

        None and nothing: its pushes are in the queue again, each alone.
        """
        update_ids, contents = group[0].update_ids, group[0].contents
        if len(group) > 1:
            update_ids = [update_id for push in group for update_id in push.update_ids]
            contents = [content for push in group for content in push.contents]
        try:
            plain = len(group) > 1 or self._door.is_plain(group[0])
            door = self._door
            appended = door.plain(append)(update_ids, contents) if plain else door.append(group[0], append)
        except (LogDamagedError, LogSealedError) as error:
            if len(group) > 1:
                self._waiting.extendleft(replace(push, alone=True) for push in reversed(group))
                return None, []
            return None, not_stored(group, error)
        except Exception as error:
            return None, not_stored(group, error)
        return appended, share_out(group, appended)


def not_stored(group: Sequence[Push[Content]], error: Exception) -> Results:
    """What each push of a group is told whose commit failed."""
    problem = AppendProblem.FAULT
    if isinstance(error, StoreFullError) or type(error) is LogStoreError:
        problem = AppendProblem.FULL
    elif isinstance(error, LogDamagedError | LogSealedError | LogGoneError):
        problem = AppendProblem.DAMAGED
    return [(push.number, NotStored(problem, error)) for push in group]


def share_out(group: Sequence[Push[Content]], appended: Appended) -> Results:
    """Each push's own part of what became of the group."""
    if len(group) == 1:
        return [(group[0].number, appended)]
    shares: Results = []
    offset = 0
    for push in group:
        end = offset + len(push.update_ids)
        duplicates = frozenset(at - offset for at in appended.duplicates if offset <= at < end)
        conflicts = {at - offset: position for at, position in appended.conflicts.items() if offset <= at < end}
        shares.append((push.number, Appended(None, appended.positions[offset:end], duplicates, conflicts)))
        offset = end
    return shares
