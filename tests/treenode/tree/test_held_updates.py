"""The books of held, settled and rejected updates and of removals, without a tree."""

from __future__ import annotations

import pytest

from fasttree.v1 import types_pb2
from services.shared.rules import rules_of
from services.treenode.tree import CarriedHold, NotApplied
from services.treenode.tree.held import (
    EndedWait,
    HeldUpdate,
    HeldUpdates,
    RejectedUpdates,
    resolved,
)
from tests.treenode.tree.say import enrol, order, remove


def waits(position: int, waits_for: str = "M", removed_at: int = 0, since: int | None = None) -> HeldUpdate:
    update = types_pb2.Update(update_id=f"u{position}")
    return HeldUpdate(position, update, waits_for, "why", removed_at, position if since is None else since)


def books(*held: HeldUpdate) -> HeldUpdates:
    updates = HeldUpdates()
    for each in held:
        updates.hold(each)
    return updates


def rejected(position: int) -> NotApplied:
    return NotApplied(position, f"u{position}", types_pb2.OUTCOME_REJECTED, "why")


def test_digests_are_the_same_in_every_release() -> None:
    """Nodes of two releases compare theirs while a cluster is brought to a newer one."""
    held = 0x203DF17F66AAE4C0
    assert HeldUpdates.digest_of(7, "u7") == held
    assert waits(7).digest == held
    assert waits(7, removed_at=3).digest == held + 0x93BE15005B78DD0E
    assert waits(7, removed_at=1).digest != held, "the first position of all is one"
    assert HeldUpdates.removal_digest("M", 3) == 0x36E65F4A7B3F0F5C
    assert HeldUpdates.removal_digest("M", 0) == 0
    assert RejectedUpdates.digest_of(rejected(7)) == 0x84FBBD7A6A1235E7


def test_the_newest_rejected_updates_are_listed_and_all_are_counted() -> None:
    updates = RejectedUpdates()
    for position in range(1, 10_001):
        updates.add(rejected(position))
    copy = updates.copy()
    updates.add(rejected(10_001))
    assert (updates.total, len(updates.newest), updates.newest[0].position) == (10_001, 10_000, 2)
    assert (copy.total, len(copy.newest), copy.newest[0].position) == (10_000, 10_000, 1)


def test_a_held_update_is_listed_with_whom_it_waits_for() -> None:
    assert waits(7, removed_at=3).not_applied() == NotApplied(7, "u7", types_pb2.OUTCOME_HELD, "why", "M", 3)


def test_who_is_waited_for_no_more_is_in_no_list() -> None:
    updates = books(waits(1), waits(2), waits(3, "N"))
    assert len(updates) == 3
    updates.take(1)
    assert updates.waiting == {"M": [2], "N": [3]}
    updates.take(2)
    assert updates.waiting == {"N": [3]}
    assert list(updates.by_position) == [1, 2, 3], "held until they are resolved"
    assert updates.resolve(2, 8) == waits(2)
    assert list(updates.by_position) == [1, 3]
    assert updates.held_at(7) == [1, 2, 3]
    assert updates.held_at(8) == [1, 3]


def test_as_many_as_come_are_known_to_have_been_held() -> None:
    updates = books()
    for position in range(1, 201):
        updates.hold(waits(position))
        updates.take(position)
        updates.resolve(position, 1000)
    assert updates.held_at(200) == list(range(1, 201))


def test_what_is_forgotten_was_never_held() -> None:
    updates = books(waits(1), waits(2))
    assert updates.forget(1) == waits(1)
    assert updates.waiting == {"M": [2]}
    assert updates.forget(2) == waits(2)
    assert updates.waiting == {}
    assert updates.held_at(2) == []


def test_an_arrival_takes_what_is_not_of_a_removed_member() -> None:
    held = [waits(1), waits(2, removed_at=1), waits(3), waits(4, "N", removed_at=2)]
    updates = books(*held)
    assert updates.take_waiting("M", of_removed=False) == [1, 3]
    assert updates.waiting == {"M": [2], "N": [4]}
    assert updates.take_waiting("M", of_removed=False) == []
    assert updates.waiting == {"M": [2], "N": [4]}
    assert updates.take_waiting("nobody", of_removed=True) == []
    assert updates.take_waiting("N", of_removed=True) == [4]
    updates = books(*held)
    assert updates.take_waiting("M", of_removed=True) == [1, 2, 3]
    assert updates.waiting == {"N": [4]}
    updates = books(waits(1), waits(3))
    assert updates.take_waiting("M", of_removed=False) == [1, 3]
    assert updates.waiting == {}


def test_a_wait_for_a_removed_member_is_known_from_its_begin_to_its_end() -> None:
    updates = books(waits(4, removed_at=3))
    hold = CarriedHold(4, "M", 3)
    assert [updates.holds_at(position) for position in (3, 4, 9)] == [[], [hold], [hold]]
    updates.take(4)
    updates.hold(waits(4, "N", removed_at=5, since=6))
    assert updates.ended_waits == [EndedWait(hold, 4, 6)]
    assert [updates.holds_at(position) for position in (3, 5, 6)] == [[], [hold], [CarriedHold(4, "N", 5)]]
    updates.take(4)
    updates.resolve(4, 8)
    assert [updates.holds_at(position) for position in (5, 7, 8)] == [[hold], [CarriedHold(4, "N", 5)], []]


@pytest.mark.parametrize(("removed_at", "until"), [(0, 6), (3, 4)])
def test_a_wait_for_nobody_removed_or_of_no_time_is_none(removed_at: int, until: int) -> None:
    updates = books(waits(4, removed_at=removed_at))
    updates.take(4)
    updates.resolve(4, until)
    assert updates.ended_waits == []


def test_removals_are_known_as_of_each_position() -> None:
    updates = HeldUpdates()
    digest = [updates.note_removal(*each) for each in [("M", 3), ("N", 5), ("M", 8)]]
    third = HeldUpdates.removal_digest("M", 3)
    assert digest == [third, HeldUpdates.removal_digest("N", 5), HeldUpdates.removal_digest("M", 8) - third]
    told = [updates.removals_at(position) for position in (2, 3, 5, 7, 8)]
    assert told == [[], [("M", 3)], [("M", 3), ("N", 5)], [("M", 3), ("N", 5)], [("N", 5), ("M", 8)]]


def test_a_copy_goes_its_own_way() -> None:
    updates = books(waits(1), waits(2), waits(3, removed_at=2))
    updates.note_removal("M", 2)
    updates.carried_removals = (("Z", 1),)
    updates.take(1)
    updates.resolve(1, 4)
    copy = updates.copy()
    updates.hold(waits(5))
    updates.take(2)
    updates.resolve(2, 6)
    updates.take(3)
    updates.resolve(3, 7)
    updates.note_removal("M", 8)
    assert copy.settled.pairs.tolist() == [[1, 4]]
    assert copy.carried_removals == (("Z", 1),)
    assert (copy.waiting, list(copy.by_position), copy.ended_waits) == ({"M": [2, 3]}, [2, 3], [])
    assert (copy.removals, copy.earlier_removals) == ({"M": 2}, [])


def test_what_an_update_leaves_open_is_what_the_rules_say_at_its_position() -> None:
    rules = rules_of(("PV", "CV"), ("2026-11", "2026-10"))
    meant = resolved(order("M", 5), rules).volume_posted
    assert (meant.volume_type, meant.period, meant.amount_hundredths) == ("PV", "2026-11", 5)
    for whole in (
        order("M", 5, volume_type="CV", period="2026-10"),
        order("M", 5, period="1999-01"),
        remove("M", leave_empty=True),
        remove("M", volume_leaves=True),
        enrol("M"),
    ):
        assert resolved(whole, rules) is whole
    open_removal = remove("M")
    assert resolved(open_removal, rules).member_removed.volume == rules.volume_of_removed
    assert resolved(open_removal, rules).member_removed.member_id == "M"
    assert open_removal.member_removed.volume == 0, "the update itself stays as it was"
