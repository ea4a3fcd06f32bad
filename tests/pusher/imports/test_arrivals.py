"""When a file of the upload folder is due: never while it, or what its marker says, may still change."""

from __future__ import annotations

import pytest

from services.pusher.imports.uploads.arrivals import Arrivals, Due, Entry, EntryKind

FILE, FOLDER = EntryKind.FILE, EntryKind.FOLDER


def entry(name: str, look: int = 1, kind: EntryKind = FILE) -> Entry:
    return Entry(name, kind, (look,))


def arrivals() -> Arrivals:
    return Arrivals(stable_s=30.0, marker_settle_s=1.0)


def test_a_file_without_a_marker_is_due_once_it_has_not_changed_for_long_enough() -> None:
    core = arrivals()
    assert core.look([entry("a.csv")], 0.0) == []
    assert core.look([entry("a.csv", 2)], 29.0) == [], "it changed"
    assert core.look([entry("a.csv", 2)], 58.9) == []
    assert core.look([entry("a.csv", 2)], 59.0) == [Due("a.csv", still_s=30.0)]
    assert core.look([entry("a.csv", 2)], 60.0) == [], "told once"
    core.try_again("a.csv")
    assert core.look([entry("a.csv", 2)], 61.0) == [Due("a.csv", still_s=32.0)]


def test_a_marker_that_was_made_empty_is_not_read_before_it_has_settled() -> None:
    core = arrivals()
    assert core.look([entry("a.csv"), entry("a.csv.done", 0)], 0.0) == []
    assert core.look([entry("a.csv"), entry("a.csv.done", 1)], 1.0) == [], "it was written"
    assert core.look([entry("a.csv"), entry("a.csv.done", 1)], 1.5) == []
    assert core.look([entry("a.csv"), entry("a.csv.done", 1)], 2.0) == [Due("a.csv", "a.csv.done", 2.0)]


@pytest.mark.parametrize(
    "name", ["a.csv.filepart", "A.CSV.FilePart", "a.csv.part", "a.csv.crdownload", ".a.csv", "a.tmp"]
)
def test_a_file_that_is_being_copied_is_passed_over(name: str) -> None:
    core = arrivals()
    core.look([entry(name)], 0.0)
    assert core.look([entry(name)], 1e6) == []


def test_a_marker_alone_and_a_folder_are_no_files() -> None:
    core = arrivals()
    things = [entry("a.csv.done"), entry("done", kind=FOLDER), entry("b.csv", kind=FOLDER)]
    core.look(things, 0.0)
    assert core.look(things, 1e6) == []


def test_a_file_that_came_again_is_told_again() -> None:
    core = arrivals()
    core.look([entry("a.csv")], 0.0)
    assert core.look([entry("a.csv")], 30.0)
    assert core.look([], 31.0) == []
    core.look([entry("a.csv", 2)], 32.0)
    assert core.look([entry("a.csv", 2)], 62.0) == [Due("a.csv", still_s=30.0)]
