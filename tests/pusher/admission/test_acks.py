"""What is known of the outcome of an update, and for how long."""

from __future__ import annotations

from services.pusher.admission.acks import AckRange, Acks
from services.pusher.fanout.events import KnownOutcome, NodeConfirmed, NodeStands

UNKNOWN, APPLIED = KnownOutcome.UNKNOWN, KnownOutcome.APPLIED
HELD, REJECTED = KnownOutcome.HELD, KnownOutcome.REJECTED


def outcomes(acks: Acks, *positions: int) -> list[KnownOutcome]:
    return [acks.outcome(position) for position in positions]


def test_nothing_is_known_of_what_came_before_the_start_or_is_not_confirmed() -> None:
    acks = Acks(position=5)
    acks.handle(NodeConfirmed("a", 8, ((5, HELD), (7, REJECTED))), 0.0)
    assert outcomes(acks, 4, 5, 6, 7, 8, 9) == [UNKNOWN, UNKNOWN, APPLIED, REJECTED, APPLIED, UNKNOWN]


def test_a_forgotten_outcome_does_not_look_applied() -> None:
    acks = Acks(position=0, outcomes_max=2)
    acks.handle(NodeConfirmed("a", 9, ((6, HELD), (7, REJECTED))), 0.0)
    assert outcomes(acks, 5, 6, 7, 8) == [APPLIED, HELD, REJECTED, APPLIED]
    acks.handle(NodeConfirmed("a", 9, ((9, HELD),)), 0.0)
    assert outcomes(acks, 5, 6, 7, 8, 9) == [UNKNOWN, UNKNOWN, REJECTED, APPLIED, HELD]
    # An older one that is told again may go first; what is forgotten stays forgotten.
    acks.handle(NodeConfirmed("b", 9, ((3, HELD),)), 0.0)
    acks.handle(NodeConfirmed("b", 9, ((9, HELD), (8, HELD))), 0.0)
    acks.handle(NodeConfirmed("b", 9, ((2, HELD), (1, HELD), (9, REJECTED))), 0.0)
    assert outcomes(acks, 6, 7, 8) == [UNKNOWN, UNKNOWN, UNKNOWN]


def test_one_node_has_it_even_after_that_node_went_back() -> None:
    acks = Acks(position=0)
    acks.handle(NodeStands("a", connected=True, in_step=True, applied_position=8, import_id=0), 0.0)
    assert acks.level(AckRange.ONE_NODE) == 8
    acks.handle(NodeStands("b", connected=True, in_step=True, applied_position=3, import_id=0), 0.0)
    assert (acks.level(AckRange.ONE_NODE), acks.level(AckRange.ALL_NODES)) == (8, 3)
    acks.handle(NodeConfirmed("b", 5, ()), 0.0)
    assert (acks.level(AckRange.ONE_NODE), acks.level(AckRange.ALL_NODES)) == (8, 5)


def test_of_what_a_node_has_by_its_word_alone_no_outcome_is_known() -> None:
    acks = Acks(position=2)
    acks.handle(NodeConfirmed("a", 5, ((4, HELD),)), 0.0)
    acks.handle(NodeStands("a", connected=True, in_step=True, applied_position=5, import_id=0), 0.0)
    assert outcomes(acks, 2, 3, 4, 5) == [UNKNOWN, APPLIED, HELD, APPLIED]
    acks.handle(NodeStands("a", connected=True, in_step=True, applied_position=8, import_id=1), 0.0)
    assert outcomes(acks, 6, 7, 8) == [UNKNOWN, UNKNOWN, UNKNOWN]
    acks.handle(NodeConfirmed("a", 9, ()), 0.0)
    assert outcomes(acks, 8, 9) == [UNKNOWN, APPLIED]
