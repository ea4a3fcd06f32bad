"""What fits beside the rules, to the one."""

from __future__ import annotations

from services.shared.domain.limits import PERIODS_EVER_MAX
from services.shared.domain.slots import brought_problem


def test_a_file_that_brings_nothing_always_fits() -> None:
    types = [f"V{number}" for number in range(70)]
    periods = [f"p{number}" for number in range(130)]
    assert brought_problem(types, periods, (), types, periods) is None
    assert brought_problem(types, periods, (), (), ()) is None


def test_periods_that_were_ever_opened_are_counted_with_those_that_a_file_opens() -> None:
    sealed = [f"s{number}" for number in range(PERIODS_EVER_MAX - 2)]
    assert brought_problem(["PV"], ["a"], sealed, ["PV"], ["b"]) is None
    told = brought_problem(["PV"], ["a"], sealed, ["PV"], ["b", "c"])
    assert told == (
        "2 periods more than the 1199 that were ever opened are more than the 1,200 that fit: leave some out"
    )


def test_a_closed_period_of_a_file_is_not_opened_but_takes_room() -> None:
    sealed = [f"s{number}" for number in range(1_200)]
    assert brought_problem(["PV"], ["a"], sealed, ["PV"], sealed[:1_023]) is None
    told = brought_problem(["PV"], ["a"], sealed, ["PV"], sealed[:1_024])
    assert told is not None
    assert "1 volume types in 1025 periods are 1,025 pairs, and 1,024 fit" in told
