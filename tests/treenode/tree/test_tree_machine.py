"""Every kind of update in any order against the naive tree, with round trips and new layouts in between."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fasttree.v1 import types_pb2
from services.treenode.tree import Tree
from tests.treenode.tree.judge import COLUMNS, expect_same, naive_tree, tree_of
from tests.treenode.tree.naive import Place

LONG_ID = "a-member-with-a-very-long-id-000"
IDS = [*"ABCDEFGHIJ", "K-12", "L-123456", LONG_ID]
ids = st.sampled_from(IDS)
ids_or_none = st.one_of(st.just(""), ids, ids, ids)
legs = st.sampled_from([0, 0, 0, 1, 2, 3, 70])
days = st.sampled_from(["", "2026-11-01", "1969-07-20"])
columns = st.dictionaries(st.sampled_from([*COLUMNS, COLUMNS[0]]), st.sampled_from(["", "Oslo", "Lima"]), max_size=2)
amounts = st.one_of(
    st.integers(-10_000, 10_000), st.sampled_from([2**62, -(2**62), 2**63 - 1, -(2**63)]), st.integers(-5, 5)
)

enrolments = st.builds(
    types_pb2.MemberEnrolled,
    member_id=ids,
    sponsor_id=ids_or_none,
    placement_id=ids_or_none,
    placement_leg=legs,
    kind=st.sampled_from([0, 1, 2]),
    status=st.sampled_from(["", "A", "B"]),
    rank=st.integers(0, 3),
    joined_on=days,
    columns=columns,
    returning=st.sampled_from([False, False, True]),
)
changes = st.builds(
    types_pb2.MemberChanged,
    member_id=ids,
    kind=st.one_of(st.none(), st.sampled_from([0, 1, 2])),
    status=st.one_of(st.none(), st.sampled_from(["", "A", "T"])),
    rank=st.one_of(st.none(), st.integers(0, 32_767)),
    joined_on=st.one_of(st.none(), days),
    columns=columns,
)
moves = st.builds(
    types_pb2.MemberMoved,
    member_id=ids,
    new_parent_id=ids_or_none,
    tree=st.sampled_from([0, 1, 2, 2]),
    placement_leg=legs,
)
removals = st.builds(
    types_pb2.MemberRemoved, member_id=ids, mode=st.sampled_from([0, 1, 2]), volume=st.sampled_from([0, 0, 1, 2, 2])
)
orders = st.builds(
    types_pb2.VolumePosted,
    member_id=ids,
    amount_hundredths=amounts,
    volume_type=st.sampled_from(["", "", "PV", "CV", "XX"]),
    period=st.sampled_from(["", "", "2026-11", "2026-10", "2025-01"]),
)
actions = st.sampled_from([0, 1, 2, 2])
reasons = st.sampled_from(["", "mistyped", "mistyped"])
decisions = st.one_of(
    st.builds(types_pb2.HeldSettled, action=actions, position=st.integers(0, 40), reason=reasons),
    st.builds(types_pb2.HeldSettled, action=actions, member_id=ids, reason=reasons),
)
updates = st.one_of(
    st.builds(types_pb2.Update, held_settled=decisions),
    st.builds(types_pb2.Update, member_enrolled=enrolments),
    st.builds(types_pb2.Update, member_enrolled=enrolments),
    st.builds(types_pb2.Update, member_changed=changes),
    st.builds(types_pb2.Update, member_moved=moves),
    st.builds(types_pb2.Update, member_removed=removals),
    st.builds(types_pb2.Update, volume_posted=orders),
    st.builds(types_pb2.Update, volume_posted=orders),
)


class TreeMachine(RuleBasedStateMachine):
    """The engine and the naive tree take the same updates."""

    @initialize(
        parents=st.lists(st.tuples(st.integers(-1, 8), st.integers(-1, 8)), max_size=8),
        scramble=st.permutations(range(8)),
    )
    def start(self, parents: list[tuple[int, int]], scramble: list[int]) -> None:
        """Begins with an import of some members, whose sponsors may stand after them in the file."""
        self.naive = naive_tree()
        order = [index for index in scramble if index < len(parents)]
        for index in order:
            sponsor, placement = (IDS[above] if 0 <= above < index else "" for above in parents[index])
            leg = 1 + sum(place.placement == placement for place in self.naive.places.values()) if placement else 0
            volumes = {("PV", "2026-11"): index * 100}
            self.naive.places[IDS[index]] = Place(
                sponsor=sponsor, placement=placement, leg=leg, volumes=volumes, columns={"city": "Rome"}
            )
        self.tree = tree_of(self.naive)
        self.number = 0

    @rule(batch=st.lists(updates, min_size=1, max_size=12))
    def take(self, batch: list[types_pb2.Update]) -> None:
        """Applies a batch on one side, each update alone on the other."""
        for update in batch:
            self.number += 1
            update.update_id = f"u{self.number}"
        told = self.tree.apply(self.tree.position + 1, batch)
        before = len(self.naive.rejected)
        for update in batch:
            self.naive.apply(update)
        rejected = [each.position for each in told if each.outcome == types_pb2.OUTCOME_REJECTED]
        assert rejected == self.naive.rejected[before:]

    @rule()
    def round_trip(self) -> None:
        """Goes on from a snapshot."""
        meta, arrays = self.tree.state()
        restored = Tree.from_state(meta, {name: array.copy() for name, array in arrays.items()})
        assert restored.digest == self.tree.digest
        assert list(restored.held()) == list(self.tree.held())
        assert restored.rejected() == self.tree.rejected()
        self.tree = restored

    @rule()
    def lay_out_anew(self) -> None:
        """Goes on from a new layout."""
        fresh = self.tree.relayout()
        assert fresh.digest == self.tree.digest
        assert fresh.change_count == 0
        self.tree = fresh

    @invariant()
    def is_the_same(self) -> None:
        """Both hold the same."""
        if hasattr(self, "tree"):
            expect_same(self.tree, self.naive)


TestTreeMachine = TreeMachine.TestCase
TestTreeMachine.settings = settings(
    max_examples=60,
    stateful_step_count=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
