"""Which import may come, which one comes back, and which ones are still needed."""

from __future__ import annotations

import pytest

from services.pusher.imports.events import ImportPlace
from services.pusher.imports.history import ImportHistory, ImportProblem, ImportRefused, PastImport
from services.pusher.log.store import LogEnds

ENDS = LogEnds(10, 100)


def past(import_id: int, as_of: int, place: ImportPlace = ImportPlace.DONE, *carried: int) -> PastImport:
    """An import in that place; one that is done was taken."""
    return PastImport(import_id, as_of, place, place is ImportPlace.DONE, carried)


def problem(told: object) -> ImportProblem | None:
    return told.problem if isinstance(told, ImportRefused) else None


@pytest.mark.parametrize(
    ("as_of", "refused"),
    [
        (101, ImportProblem.NOT_IN_LOG_YET),
        (100, None),
        (9, None),
        (8, ImportProblem.NO_LONGER_IN_LOG),
    ],
)
def test_a_file_needs_every_update_after_its_position(as_of: int, refused: ImportProblem | None) -> None:
    assert problem(ImportHistory([]).why_refused(as_of, ENDS)) is refused


@pytest.mark.parametrize(
    ("imports", "refused"),
    [
        ([past(1, 50)], None),
        ([past(1, 51)], ImportProblem.OVERTAKEN),
        ([past(1, 51, ImportPlace.WAITING)], ImportProblem.OVERTAKEN),
        ([past(1, 51, ImportPlace.ROLLING_OUT)], ImportProblem.OVERTAKEN),
        ([past(1, 51, ImportPlace.REFUSED)], None),
        ([past(1, 51, ImportPlace.SUPERSEDED)], None),
        # What was in force before counts no more: a rollback may have gone behind it.
        ([past(1, 80), past(2, 40)], None),
    ],
)
def test_an_export_is_overtaken_by_the_import_in_force_and_by_those_that_may_be(
    imports: list[PastImport], refused: ImportProblem | None
) -> None:
    assert problem(ImportHistory(imports).why_refused(50, ENDS)) is refused


def test_the_overtaken_export_is_told_by_which_import() -> None:
    told = ImportHistory([past(1, 20), past(7, 80)]).why_refused(50, ENDS)
    assert told is not None
    assert "that of import 7" in told.message


def test_a_rollback_goes_to_the_import_taken_before_the_one_in_force() -> None:
    history = ImportHistory([past(3, 60), past(1, 20), past(2, 40, ImportPlace.REFUSED), past(4, 70)])
    assert history.to_go_back_to(ENDS) == past(3, 60)
    assert history.in_force == 4
    assert history.next_id == 5


@pytest.mark.parametrize(
    ("imports", "refused"),
    [
        ([], ImportProblem.NOTHING_BEFORE),
        ([past(1, 50), past(2, 60, ImportPlace.WAITING)], ImportProblem.NOTHING_BEFORE),
        ([past(1, 9), past(2, 60)], None),
        ([past(1, 8), past(2, 60)], ImportProblem.NO_LONGER_IN_LOG),
        ([past(1, 50, ImportPlace.DONE, 9), past(2, 60)], ImportProblem.NO_LONGER_IN_LOG),
        ([past(1, 50, ImportPlace.DONE, 10), past(2, 60)], None),
    ],
)
def test_a_rollback_needs_what_its_import_needs(imports: list[PastImport], refused: ImportProblem | None) -> None:
    assert problem(ImportHistory(imports).to_go_back_to(ENDS)) is refused


def needed(imports: list[PastImport], taken_max: int = 2) -> list[int]:
    return [each.import_id for each in ImportHistory(imports).needed(taken_max)]


def test_the_two_newest_taken_ones_are_needed_and_more_where_more_are_asked_for() -> None:
    imports = [past(number, 10 * number) for number in range(1, 6)]
    assert needed(imports) == [4, 5]
    assert needed(imports, 0) == [4, 5]
    assert needed(imports, 3) == [3, 4, 5]


def test_those_that_are_not_over_are_needed_whatever_their_age() -> None:
    imports = [
        past(1, 10, ImportPlace.WAITING),
        past(2, 20, ImportPlace.REFUSED),
        past(3, 30),
        past(4, 40, ImportPlace.SUPERSEDED),
        past(5, 50, ImportPlace.REFUSED),
    ]
    # 4 may be under way on its canary still, and 5 serve on a node whose word was lost.
    assert needed(imports) == [1, 3, 4, 5]


def test_nothing_is_in_force_before_the_first_is_taken() -> None:
    assert ImportHistory([]).in_force == 0
    assert ImportHistory([past(1, 5, ImportPlace.ROLLING_OUT)]).in_force == 0
    assert ImportHistory([]).next_id == 1


def test_the_log_stays_whole_until_an_import_is_taken() -> None:
    waiting = ImportHistory([past(1, 80, ImportPlace.ROLLING_OUT)])
    assert waiting.first_kept(ENDS, 90, [], away_since=0.0, started_at=0.0) == 10
    assert ImportHistory([past(1, 80)]).first_kept(ENDS, 90, [], away_since=0.0, started_at=0.0) == 81
