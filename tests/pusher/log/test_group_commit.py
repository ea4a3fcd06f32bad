"""Which pushes share a commit, and what each is told of it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import pytest

from fasttree.v1 import types_pb2
from services.pusher.log.frames import Run
from services.pusher.log.group_commit import AppendProblem, NotStored, Push, RulesInForce, WriteQueue
from services.pusher.log.store import Appended, LogDamagedError, LogStoreError, StoreFullError
from services.shared.rules import RulesHistory

Queue = WriteQueue[str, str]
DAMAGED = LogDamagedError("record 4 is damaged", position=4)


def push(number: int, ids: str) -> Push[str]:
    """A push of updates with ids of one letter; their contents are the ids in capitals."""
    return Push(number, list(ids), list(ids.upper()))


def queue(*writes: Push[str] | str, updates_max: int = 10) -> Queue:
    made = Queue(updates_max, RulesInForce(RulesHistory(), lambda _: (), lambda _: types_pb2.Update()))
    for write in writes:
        made.put(write)
    return made


def groups(waiting: Queue) -> list[list[int] | str]:
    """What would be written, in order: the numbers of pushes that go together, or another write."""
    found: list[list[int] | str] = []
    while waiting:
        write = waiting.next()
        found.append(write if isinstance(write, str) else [each.number for each in write])
    return found


def test_whatever_waits_goes_together_up_to_a_bound() -> None:
    assert groups(queue(push(1, "ab"), push(2, "c"), push(3, "d"), updates_max=4)) == [[1, 2, 3]]
    # The bound is looked at before a push is added: it may go beyond.
    assert groups(queue(push(1, "ab"), push(2, "cde"), push(3, "f"), updates_max=4)) == [[1, 2], [3]]
    assert groups(queue(push(1, "abcd"), push(2, "e"), updates_max=4)) == [[1], [2]]


def test_nothing_overtakes_another_write() -> None:
    assert groups(queue(push(1, "a"), "trim", push(2, "b"), push(3, "c"))) == [[1], "trim", [2, 3]]
    assert groups(queue("trim", "place")) == ["trim", "place"]
    assert not queue()


def committed(waiting: Queue, result: Appended | Exception) -> tuple[Appended | None, object, list[tuple[str, str]]]:
    """The next group with what became of it, and what was stored."""
    stored: list[tuple[str, str]] = []

    def append(update_ids: Sequence[str], contents: Sequence[str]) -> Appended:
        stored.extend(zip(update_ids, contents, strict=True))
        if isinstance(result, Exception):
            raise result
        return result

    group = waiting.next()
    assert not isinstance(group, str)
    return (*waiting.commit(group, append), stored)


def test_each_push_is_told_its_own_part() -> None:
    whole = Appended(None, [7, 3, 0, 8, 8, 9], frozenset({1, 4}), {2: 5})
    appended, results, stored = committed(queue(push(1, "ab"), push(2, "cde"), push(3, "f")), whole)
    assert appended is whole
    assert stored == [(each, each.upper()) for each in "abcdef"]
    assert results == [
        (1, Appended(None, [7, 3], frozenset({1}), {})),
        (2, Appended(None, [0, 8, 8], frozenset({2}), {0: 5})),
        (3, Appended(None, [9], frozenset(), {})),
    ]


def test_what_stands_at_the_edge_of_a_push_is_its_own() -> None:
    whole = Appended(None, [1, 2, 0, 0, 5, 6], frozenset({0, 1, 4, 5}), {2: 8, 3: 9})
    _, results, _ = committed(queue(push(1, "ab"), push(2, "cd"), push(3, "ef")), whole)
    assert results == [
        (1, Appended(None, [1, 2], frozenset({0, 1}), {})),
        (2, Appended(None, [0, 0], frozenset(), {0: 8, 1: 9})),
        (3, Appended(None, [5, 6], frozenset({0, 1}), {})),
    ]


def test_a_push_that_goes_alone_is_told_all() -> None:
    whole = Appended(Run(1, array("I", [3, 6]), b"framed"), [1, 2], frozenset({0}), {})
    assert committed(queue(push(4, "ab")), whole) == (whole, [(4, whole)], [("a", "A"), ("b", "B")])
    _, results, _ = committed(queue(push(4, "a"), push(5, "b")), whole)
    assert results == [(4, Appended(None, [1], frozenset({0}), {})), (5, Appended(None, [2], frozenset(), {}))]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (StoreFullError("no space left"), AppendProblem.FULL),
        (LogStoreError("permission denied for table records"), AppendProblem.FULL),
        (ValueError("nobody thought of it"), AppendProblem.FAULT),
    ],
)
def test_a_commit_that_fails_fails_for_all(error: Exception, problem: AppendProblem) -> None:
    appended, results, _ = committed(queue(push(1, "a"), push(2, "b")), error)
    assert (appended, results) == (None, [(1, NotStored(problem, error)), (2, NotStored(problem, error))])


def test_after_a_damaged_record_each_push_is_tried_alone_and_first() -> None:
    waiting = queue(push(1, "ab"), push(2, "c"), push(3, "d"), updates_max=3)
    assert committed(waiting, DAMAGED) == (None, [], [("a", "A"), ("b", "B"), ("c", "C")])
    appended, results, stored = committed(waiting, DAMAGED)
    assert (appended, results) == (None, [(1, NotStored(AppendProblem.DAMAGED, DAMAGED))])
    assert stored == [("a", "A"), ("b", "B")]
    assert groups(waiting) == [[2], [3]]


def test_nothing_joins_a_push_that_goes_alone() -> None:
    alone = Push(1, ["a"], ["A"], alone=True)
    assert groups(queue(alone, push(2, "b"), push(3, "c"))) == [[1], [2, 3]]
    assert groups(queue(push(2, "b"), alone, push(3, "c"))) == [[2], [1], [3]]
