"""Every state of the seat with every move: the table's happen, all others raise and tell the story."""

from __future__ import annotations

import itertools

import pytest

from services.coordinator.election.seat import (
    TRANSITIONS,
    ElectionError,
    Holder,
    IllegalMoveError,
    Move,
    Seat,
    SeatState,
)

HOLDER = Holder("a", "a1", epoch=1, elected_at=0.0, right_until=1.0)

#: The shortest way from the start to each state.
WAYS: dict[SeatState, list[Move]] = {
    SeatState.VACANT: [],
    SeatState.ELECTING: [Move.CHOSEN],
    SeatState.HELD: [Move.RENEWED],
    SeatState.LEAVING: [Move.RENEWED, Move.TOLD],
}


def brought_to(state: SeatState) -> Seat:
    seat = Seat()
    for move in WAYS[state]:
        seat.move(move, HOLDER)
        seat.validate()
    assert seat.state is state
    return seat


@pytest.mark.parametrize(("state", "move"), list(itertools.product(SeatState, Move)))
def test_every_state_with_every_move(state: SeatState, move: Move) -> None:
    seat = brought_to(state)
    after = TRANSITIONS.get((state, move))
    if after is None:
        with pytest.raises(IllegalMoveError) as raised:
            seat.move(move, HOLDER)
        assert f"the seat is {state.value}, and {move.value}" in str(raised.value)
        assert all(f": {step.value}" in str(raised.value) for step in WAYS[state])
        assert seat.state is state
    else:
        seat.move(move, HOLDER)
        assert seat.state is after
    assert seat.holder == (HOLDER if seat.state in (SeatState.HELD, SeatState.LEAVING) else None)
    assert seat.primary == ("a" if seat.state is SeatState.HELD else "")
    seat.validate()


def test_a_holder_that_does_not_fit_the_state_is_found() -> None:
    held, vacant = brought_to(SeatState.HELD), brought_to(SeatState.VACANT)
    held.holder, vacant.holder = None, HOLDER
    for seat in (held, vacant):
        with pytest.raises(ElectionError, match="with holder"):
            seat.validate()
