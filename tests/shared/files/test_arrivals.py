"""When a file of the upload folder is due: never while it, or what its marker says, may still change."""

from __future__ import annotations

import pytest

from services.shared.files.arrivals import (
    MARKER_NOT_REGULAR,
    NOT_REGULAR,
    Arrivals,
    Due,
    Entry,
    EntryKind,
    Unfit,
)

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
    assert core.look([entry("a.csv"), entry("a.csv.done", 1)], 2.0) == [Due("a.csv", entry("a.csv.done", 1), 2.0)]


def test_a_marker_that_a_file_left_behind_makes_no_other_whole() -> None:
    core = arrivals()
    marker = entry("a.csv.done")
    core.look([marker], 0.0)
    assert core.look([entry("a.csv"), marker], 60.0) == []
    assert core.look([entry("a.csv", 2), marker], 65.0) == []
    assert core.look([entry("a.csv", 2), marker], 94.9) == [], "whoever writes it may have paused"
    assert core.look([entry("a.csv", 2), marker], 95.0) == [Due("a.csv", marker, 30.0)]
    core.look([marker], 100.0)
    core.look([entry("a.csv", 3), entry("a.csv.done", 2)], 101.0)
    written_anew = [entry("a.csv", 3), entry("a.csv.done", 2)]
    assert core.look(written_anew, 102.0) == [Due("a.csv", written_anew[1], 1.0)]


def test_a_file_that_is_written_on_beside_its_marker_is_not_due() -> None:
    core = arrivals()
    for look in range(5):
        assert core.look([entry("a.csv", look), entry("a.csv.done")], float(look)) == []
    assert core.look([entry("a.csv", 4), entry("a.csv.done")], 5.0) == [Due("a.csv", entry("a.csv.done"), 1.0)]


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


def test_what_is_no_regular_file_is_refused_unread_with_its_marker() -> None:
    core = arrivals()
    things = [entry("a.csv", kind=EntryKind.OTHER), entry("b.csv", kind=EntryKind.OTHER), entry("b.csv.done")]
    assert core.look(things, 0.0) == [Unfit("a.csv", NOT_REGULAR), Unfit("b.csv", NOT_REGULAR, things[2])]
    assert core.look(things, 1.0) == [], "told once"


def test_a_name_that_no_file_may_have_is_refused_unread_with_its_marker() -> None:
    core = arrivals()
    (told,) = core.look([entry("a b\x07.csv"), entry("a b\x07.csv.done")], 0.0)
    assert isinstance(told, Unfit)
    assert (told.name, told.marker) == ("a b\x07.csv", entry("a b\x07.csv.done"))


@pytest.mark.parametrize("kind", [EntryKind.OTHER, FOLDER])
def test_a_marker_that_is_no_regular_file_is_refused_with_its_file(kind: EntryKind) -> None:
    core = arrivals()
    things = [entry("a.csv"), entry("a.csv.DONE", kind=kind)]
    assert core.look(things, 0.0) == [Unfit("a.csv", MARKER_NOT_REGULAR.format(marker="a.csv.DONE"), things[1])]


def test_a_file_may_be_named_as_short_as_the_end_of_a_marker() -> None:
    core = arrivals()
    core.look([entry(".done"), entry("done"), entry("x.csv")], 0.0)
    assert core.look([entry(".done"), entry("done"), entry("x.csv")], 30.0) == [
        Due("done", still_s=30.0),
        Due("x.csv", still_s=30.0),
    ]


def test_a_marker_is_of_the_file_that_it_names_and_of_no_other() -> None:
    core = arrivals()
    things = [entry("a.csv"), entry("a.csv.done"), entry("b.csv")]
    core.look(things, 0.0)
    assert core.look(things, 1.0) == [Due("a.csv", things[1], 1.0)]


def test_what_had_an_unfinished_name_is_whole_with_its_own() -> None:
    core = arrivals()
    assert core.look([Entry("a.csv.tmp", EntryKind.FILE, (5, 10, 1))], 0.0) == []
    assert core.look([Entry("a.csv", EntryKind.FILE, (5, 10, 1))], 0.5) == [Due("a.csv", still_s=0.0)]
    assert core.look([Entry("a.csv", EntryKind.FILE, (5, 10, 1))], 0.6) == []
    # Another file of that name, and one whose unfinished name was never seen, wait as ever.
    assert core.look([Entry("a.csv", EntryKind.FILE, (6, 10, 1)), Entry("b.csv", EntryKind.FILE, (7, 1, 1))], 1.0) == []
