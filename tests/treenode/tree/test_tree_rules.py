"""Months and volume types in a tree: opened, late, sealed, their memory given back, and the digest kept true."""

from __future__ import annotations

import pytest

from fasttree.v1 import types_pb2
from services.shared.rules import RULE_VERSION, Rules, founding, rules_message, rules_of
from services.treenode.tree import Tree, UpdateFailedError
from services.treenode.tree.columns.slots import rules_digest
from tests.shared.rules.test_rules import after, closed, founded, opened, removal_set, sealed, type_added
from tests.treenode.tree.say import change
from tests.updates import enrolled

RULES = rules_of(["PV"], ["2026-11", "2026-10"])
UNSPECIFIED = types_pb2.REMOVAL_VOLUME_UNSPECIFIED
ROLL_UP, LEAVES = types_pb2.REMOVAL_VOLUME_ROLL_UP, types_pb2.REMOVAL_VOLUME_LEAVES


def posted(member_id: str, amount: int, period: str = "", volume_type: str = "") -> types_pb2.Update:
    change = types_pb2.VolumePosted(
        member_id=member_id, amount_hundredths=amount, period=period, volume_type=volume_type
    )
    return types_pb2.Update(update_id=f"{member_id}-{amount}-{period}-{volume_type}", volume_posted=change)


def grown(*updates: types_pb2.Update, rules: Rules = RULES) -> Tree:
    tree = Tree.empty(rules)
    apply(tree, enrolled("A"), enrolled("B", "A"), enrolled("C", "B"), *updates)
    return tree


def apply(tree: Tree, *updates: types_pb2.Update) -> None:
    """Applies and checks every invariant, the digest among them."""
    for update in updates:
        tree.apply(tree.position + 1, [update])
        tree.validate()


def group(tree: Tree, member: int, period: str, volume_type: str = "PV") -> int:
    return int(tree.sponsor.group[tree.slots.of(volume_type, period), member])


def same(tree: Tree, other: Tree) -> None:
    """Two trees at one position hold the same, wherever their slots stand."""
    other.validate()
    assert other.digest == tree.digest
    assert other.rules == tree.rules
    assert [key for key, _ in other.slots.in_order] == [key for key, _ in tree.slots.in_order]
    for (volume_type, period), _ in tree.slots.in_order:
        for member in range(3):
            assert group(other, member, period, volume_type) == group(tree, member, period, volume_type)


def test_whoever_asks_is_told_of_a_period_just_before_it_is_closed_for_good() -> None:
    tree = grown(posted("C", 100, "2026-10"), posted("C", 7))
    begun, told = tree.position, list[tuple[str, int, int]]()

    def before_seal(at: Tree, period: str) -> None:
        told.append((period, at.position - begun, group(at, 0, period)))

    updates = [
        change("A", rank=1),
        opened("2026-12", current=True),
        posted("C", 30, "2026-10"),
        closed("2026-10"),
        closed("2026-10"),
        closed("2026-11", late_until="2026-12-05"),
        posted("C", 5, "2026-11"),
        sealed("2026-11"),
    ]
    refused = tree.apply(begun + 1, updates, before_seal)
    assert [each.position - begun for each in refused] == [5]
    assert told == [("2026-10", 3, 130), ("2026-11", 7, 12)]
    tree.validate()


def test_an_order_without_a_period_falls_into_the_one_that_is_current_at_its_position() -> None:
    tree = grown(posted("C", 100), opened("2026-12", current=True), posted("C", 7), posted("C", 30, "2026-11"))
    assert group(tree, 0, "2026-11") == 130
    assert group(tree, 0, "2026-12") == 7
    assert tree.periods == ("2026-12", "2026-11", "2026-10")
    assert tree.rejected_count == 0


def test_a_month_that_is_not_open_is_rejected_and_one_that_is_late_is_taken() -> None:
    tree = grown(posted("C", 100, "2026-10"), closed("2026-10", "2026-11-05"), posted("C", -40, "2026-10"))
    assert group(tree, 0, "2026-10") == 60
    apply(tree, sealed("2026-10"), posted("C", -1, "2026-10"), posted("C", 5, "2026-12"))
    reasons = [rejected.reason for rejected in tree.rejected()]
    assert reasons == ['period "2026-10" is closed for good: 2026-11', 'period "2026-12" is not open: 2026-11']


def test_a_sealed_month_gives_its_slots_to_the_next_one() -> None:
    tree = grown(posted("C", 100, "2026-10"), type_added("CV"), posted("B", 9, "2026-10", "CV"), posted("A", 5))
    slots = len(tree.slots.keys)
    apply(tree, closed("2026-10"), opened("2026-12"), posted("C", 3, "2026-12"))
    assert len(tree.slots.keys) == slots
    assert group(tree, 0, "2026-12") == 3
    assert group(tree, 0, "2026-12", "CV") == 0
    never = grown(type_added("CV"), posted("A", 5), opened("2026-12"), posted("C", 3, "2026-12"))
    # What the closed month held is in no fact any more.
    assert (tree.digest - rules_digest(tree.rules) - never.digest + rules_digest(never.rules)) % 2**64 == 0


def test_memory_of_large_columns_is_given_back_as_zeros() -> None:
    tree = grown()
    capacity = tree.store.capacity
    members = [enrolled(f"m{number}", "A") for number in range(3 * capacity)]
    tree.apply(tree.position + 1, members)
    tree.apply(tree.position + 1, [posted(f"m{number}", number + 1, "2026-10") for number in range(3 * capacity)])
    slot = tree.slots.of("PV", "2026-10")
    apply(tree, closed("2026-10"), opened("2026-12"))
    assert tree.slots.of("PV", "2026-12") == slot
    assert not tree.store.personal[slot].any()
    assert not tree.sponsor.group[slot].any()


def test_states_and_layouts_keep_months_wherever_their_slots_stand() -> None:
    tree = grown(posted("C", 100, "2026-10"), type_added("CV"), posted("B", 9, "2026-10", "CV"), posted("A", 5))
    apply(tree, opened("2026-12"), closed("2026-10"))
    assert None in tree.slots.keys
    same(tree, Tree.from_state(*tree.state()))
    same(tree, tree.relayout())
    for other in (Tree.from_state(*tree.state()), tree.relayout()):
        apply(other, opened("2027-01", current=True), posted("C", 11))
        assert group(other, 0, "2027-01") == 11


def test_sixty_months_of_six_types_take_memory_only_where_somebody_has_volume() -> None:
    tree = grown(rules=rules_of(["A", "B", "C", "D", "E", "F"], ["2026-01"]))
    months = [f"{2026 + at // 12}-{at % 12 + 1:02d}" for at in range(1, 60)]
    tree.apply(tree.position + 1, [opened(month) for month in months])
    apply(tree, posted("C", 7, months[-1], "F"), posted("C", 8, months[0], "B"))
    assert group(tree, 0, months[-1], "F") == 7
    assert len(tree.slots.keys) == 360
    same(tree, Tree.from_state(*tree.state()))
    # No more of them go to the disk than up to the last one that anybody has volume in.
    _, arrays = grown(rules=tree.rules).state()
    assert len(arrays["personal"]) == 1


def test_a_held_order_keeps_the_month_that_it_meant() -> None:
    tree = grown(posted("D", 10), opened("2026-12", current=True), enrolled("D", "C"))
    assert group(tree, 0, "2026-11") == 10
    assert group(tree, 0, "2026-12") == 0
    tree = grown(posted("D", 10, "2026-10"), closed("2026-10"), enrolled("D", "C"))
    assert tree.held_count == 0
    assert tree.rejected()[0].reason == 'period "2026-10" is closed for good: 2026-11'


def test_a_log_of_before_comes_to_the_same_with_its_first_rules() -> None:
    """Whatever a node's settings were, its digest is another's from the record on."""
    tree, other = grown(posted("C", 4), rules=founding(RULES)), grown(posted("C", 4), rules=RULES)
    assert (other.digest - rules_digest(RULES) - tree.digest) % 2**64 == 0
    other = grown(posted("C", 4), rules=founding(rules_of(["PV"], ["2026-11", "2026-10", "2026-09"])))
    assert tree.digest == other.digest
    apply(tree, founded(RULES))
    apply(other, founded(RULES))
    assert tree.digest == other.digest
    assert other.periods == ("2026-11", "2026-10", "2026-09")  # read, and no orders
    assert other.slots.beyond(other.rules) == ([], ["2026-09"])
    apply(other, posted("C", 1, "2026-09"))
    assert other.rejected_count == 1


def test_a_state_of_a_version_before_is_read() -> None:
    tree = grown(posted("C", 100, "2026-10"), posted("D", 5), rules=founding(RULES))
    meta, arrays = tree.state()
    older = {key: value for key, value in meta.items() if key not in ("slots", "rules", "spare")}
    older |= {"format": 3, "volume_types": ["PV"], "periods": ["2026-11", "2026-10"]}
    older["held"] = [entry[:3] for entry in meta["held"]]
    arrays["resolved"] = arrays.pop("held.settled")
    arrays |= {"personal": tree.store.personal[:, : tree.store.used]}
    for name in ("sponsor", "placement"):
        arrays[f"{name}.group"] = getattr(tree, name).group[:, : tree.store.used]
    read = Tree.from_state(older, arrays)
    same(tree, read)
    apply(read, founded(RULES), opened("2026-12", current=True), enrolled("D", "A"))
    assert group(read, 0, "2026-11") == 5  # the order without a period, held from before


def removed(member_id: str, volume: types_pb2.RemovalVolume.ValueType = UNSPECIFIED) -> types_pb2.Update:
    change = types_pb2.MemberRemoved(member_id=member_id, volume=volume)
    return types_pb2.Update(update_id=f"remove-{member_id}", member_removed=change)


@pytest.mark.parametrize(
    ("rules", "records", "total"),
    [
        (RULES, [], 100),
        (founding(RULES), [], 0),
        (founding(RULES), [founded(RULES)], 100),
        (RULES, [removal_set(LEAVES)], 0),
        (RULES, [removal_set(LEAVES), removal_set(ROLL_UP)], 100),
    ],
)
def test_a_removal_means_what_the_rules_say_at_its_position(
    rules: Rules, records: list[types_pb2.Update], total: int
) -> None:
    tree = grown(posted("C", 100), *records, removed("C"), rules=rules)
    assert group(tree, 0, "2026-11") == total
    # One that says it itself goes by that.
    tree = grown(posted("C", 100), *records, removed("C", ROLL_UP), rules=rules)
    assert group(tree, 0, "2026-11") == 100


def test_a_held_removal_keeps_what_it_meant() -> None:
    # The first waits for D from a time when volumes left.
    tree = grown(removed("D"), founded(RULES), enrolled("D", "C"), posted("B", 1), rules=founding(RULES))
    tree = Tree.from_state(*tree.state())
    assert tree.held_count == 0
    tree = grown(removal_set(LEAVES), removed("D"), removal_set(ROLL_UP))
    assert tree.held_updates.by_position[5].update.member_removed.volume == LEAVES
    emptied = removed("E")
    emptied.member_removed.mode = types_pb2.REMOVAL_MODE_LEAVE_EMPTY
    apply(tree, emptied)
    assert tree.held_updates.by_position[7].update == emptied


def test_rules_are_in_the_digest() -> None:
    tree, other = grown(), grown()
    apply(tree, opened("2026-12"))
    apply(other, opened("2027-01"))
    assert tree.digest != other.digest
    assert rules_message(after(RULES, opened("2026-12"))) == rules_message(tree.rules)


def test_a_build_that_does_not_know_the_version_of_the_rules_stops_before_them() -> None:
    tree = grown(rules=founding(RULES))
    digest = tree.digest
    newer = founded(RULES)
    newer.rules_founded.rules.version = RULE_VERSION + 1
    with pytest.raises(UpdateFailedError, match="upgrade it"):
        tree.apply(tree.position + 1, [posted("C", 1), newer])
    assert tree.position == 4
    assert tree.rules.version == 0
    assert tree.digest != digest  # the order before it is in
    tree.validate()
