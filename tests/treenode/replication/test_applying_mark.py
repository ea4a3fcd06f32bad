"""A process that died among some updates is known to the next one, which tries them one by one, and twice at most."""

from __future__ import annotations

from pathlib import Path

from services.treenode.replication.applying_mark import ApplyingMark


def died(path: Path, first_position: int, count: int) -> ApplyingMark:
    """What the next process finds after one that died while it applied these."""
    mark = ApplyingMark(path)
    mark.begin("log-1", first_position, count)
    mark.close()
    return ApplyingMark(path)


def test_nothing_is_suspected_of_a_process_that_ended_between_two_slices(tmp_path: Path) -> None:
    path = tmp_path / "applying"
    mark = ApplyingMark(path)
    mark.begin("log-1", 5, 100)
    mark.end()
    mark.close()
    again = ApplyingMark(path)
    assert not any(again.is_suspect("log-1", position) for position in range(200))


def test_those_that_a_process_died_among_are_tried_one_by_one(tmp_path: Path) -> None:
    mark = died(tmp_path / "applying", 5, 3)
    assert [position for position in range(1, 10) if mark.is_suspect("log-1", position)] == [5, 6, 7]
    assert not mark.is_suspect("log-2", 6)
    assert not any(mark.is_deadly("log-1", position) for position in range(10))


def test_the_one_that_two_processes_died_of_is_not_tried_again_nor_after_that(tmp_path: Path) -> None:
    path = tmp_path / "applying"
    once = died(path, 6, 1)
    assert not once.is_deadly("log-1", 6)
    once.begin("log-1", 6, 1)
    once.close()
    deadly = ApplyingMark(path)
    assert deadly.is_deadly("log-1", 6)
    assert not deadly.is_deadly("log-1", 7)
    deadly.keep("log-1", 6)
    deadly.close()
    assert ApplyingMark(path).is_deadly("log-1", 6)


def test_one_after_another_has_killed_no_process_twice(tmp_path: Path) -> None:
    path = tmp_path / "applying"
    once = died(path, 6, 1)
    once.begin("log-1", 7, 1)
    once.close()
    assert not ApplyingMark(path).is_deadly("log-1", 7)
