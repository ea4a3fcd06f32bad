"""Which updates share one commit, and what each push is told of it: without any I/O.

The rules
---------
1. Writes are done in the order in which they came. Whatever waits when a commit begins goes into it, push by push,
   until it has `updates_max` updates: a lone push waits for one fsync, a flood pays one for thousands. Another write
   (an import's state, a trim) goes alone, and nothing overtakes it.
2. A commit is stored whole or not at all. Where it was refused because one of its ids meets a damaged record, each of
   its pushes is tried again alone, in order, before anything else: only the push with that id must fail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

from services.pusher.log.store import Appended, LogDamagedError, StoreFullError

Content = TypeVar("Content")
Other = TypeVar("Other")


class AppendProblem(Enum):
    """Why a push was not stored."""

    #: No room, or the disk fails: it may work later.
    FULL = "full"
    #: A record with one of the ids is damaged: it never works.
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
    #: Only by itself: it was in a commit that met a damaged record.
    alone: bool = False


#: What became of pushes, by their number.
Results: TypeAlias = list[tuple[int, Appended | NotStored]]


@dataclass(frozen=True, slots=True)
class Committed:
    """What one commit made of its pushes. What is `Appended` there is on disk."""

    results: Results


class WriteQueue(Generic[Content, Other]):
    """Everything that waits to be written, in order."""

    def __init__(self, updates_max: int) -> None:
        self._updates_max = updates_max
        self._waiting: deque[Push[Content] | Other] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, write: Push[Content] | Other) -> None:
        self._waiting.append(write)

    def next(self) -> list[Push[Content]] | Other:
        """What is to be written now: the pushes of one commit, or another write. There must be one."""
        waiting = self._waiting
        first = waiting.popleft()
        if not isinstance(first, Push):
            return first
        group, updates = [first], len(first.update_ids)
        while waiting and updates < self._updates_max and not group[-1].alone:
            following = waiting[0]
            if not isinstance(following, Push) or following.alone:
                break
            waiting.popleft()
            group.append(following)
            updates += len(following.update_ids)
        return group

    def commit(
        self, group: list[Push[Content]], append: Callable[[Sequence[str], Sequence[Content]], Appended]
    ) -> tuple[Appended | None, Results]:
        """Stores a group by `append` (see `LogStore`); what became of it all, and of each push.

        None and nothing: its pushes are in the queue again, each alone.
        """
        update_ids, contents = group[0].update_ids, group[0].contents
        if len(group) > 1:
            update_ids = [update_id for push in group for update_id in push.update_ids]
            contents = [content for push in group for content in push.contents]
        try:
            appended = append(update_ids, contents)
        except LogDamagedError as error:
            if len(group) > 1:
                self._waiting.extendleft(
                    Push(push.number, push.update_ids, push.contents, alone=True) for push in reversed(group)
                )
                return None, []
            return None, not_stored(group, error)
        except Exception as error:
            return None, not_stored(group, error)
        return appended, share_out(group, appended)


def not_stored(group: Sequence[Push[Content]], error: Exception) -> Results:
    """What each push of a group is told whose commit failed."""
    problem = AppendProblem.FAULT
    if isinstance(error, StoreFullError):
        problem = AppendProblem.FULL
    elif isinstance(error, LogDamagedError):
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
