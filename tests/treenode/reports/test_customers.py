"""The rule about customers: reports go by it, whatever is recorded; what is recorded stays."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from fasttree.v1 import report_pb2, types_pb2
from services.shared.rules import Rules, rules_of
from services.treenode.tree import Tree
from tests.shared.rules.test_rules import customers_set
from tests.treenode.reports.conftest import Services
from tests.treenode.reports.genealogies import random_tree, random_update
from tests.treenode.tree.say import change, enrol, remove, take
from tests.treenode.tree.test_kept_state import ids_of as ids_of_tree
from tests.treenode.tree.test_kept_state import mapped, written

RULES = rules_of(["PV"], ["2026-11", "2026-10"])
DISTRIBUTOR, CUSTOMER = types_pb2.MEMBER_KIND_DISTRIBUTOR, types_pb2.MEMBER_KIND_CUSTOMER
#: A distributor, one with a customer's code, and one that is recorded as a customer.
ENROLMENTS = (
    enrol("top", status="A", rank=9),
    enrol("buys", "top", status="X", rank=5),
    enrol("shops", "top", status="A", rank=3, kind=CUSTOMER),
)
RULE = customers_set("X", "Q", rank_zero=True)


def built(*updates: types_pb2.Update, rules: Rules = RULES) -> Tree:
    tree = Tree.empty(rules)
    assert take(tree, *updates) == []
    tree.validate()
    return tree


def shown(tree: Tree, *member_ids: str) -> list[tuple[int, int]]:
    """Kind and rank of members, in the order of their enrolment from 0."""
    rows = {"top": 0, "buys": 1, "shops": 2, "new": 3}
    return [(int(tree.shown.kind[rows[each]]), int(tree.shown.rank[rows[each]])) for each in member_ids]


def test_a_rule_alters_what_reports_show_and_nothing_that_is_recorded() -> None:
    tree = built(*ENROLMENTS)
    recorded = [tree.store.kind[:3].tolist(), tree.store.rank[:3].tolist()]
    assert tree.shown.kind is tree.store.kind, "without a rule it costs nothing"
    digest = tree.digest
    take(tree, RULE)
    tree.validate()
    assert shown(tree, "top", "buys", "shops") == [(1, 9), (2, 0), (2, 0)]
    assert [tree.store.kind[:3].tolist(), tree.store.rank[:3].tolist()] == recorded
    assert tree.digest != digest, "the rules are part of the state"
    take(tree, customers_set("X"))
    assert shown(tree, "top", "buys", "shops") == [(1, 9), (2, 5), (2, 3)]
    take(tree, customers_set())
    tree.validate()
    assert shown(tree, "top", "buys", "shops") == [(1, 9), (1, 5), (2, 3)]


def test_what_comes_later_is_shown_by_the_rule_one_by_one_and_in_batches() -> None:
    alone, together = built(RULE), built(RULE)
    later = [
        *ENROLMENTS,
        enrol("new", "top", status="Q", rank=7),
        change("top", status="X"),
        change("buys", status="B", rank=4),
        change("shops", kind=DISTRIBUTOR),
    ]
    for update in later:
        take(alone, update)
        alone.validate()
    take(together, *later)
    for tree in (alone, together):
        tree.validate()
        assert shown(tree, "top", "buys", "shops", "new") == [(2, 0), (1, 4), (1, 3), (2, 0)]
    assert alone.digest == together.digest


def test_a_place_that_becomes_free_or_empty_is_nobodys() -> None:
    tree = built(*ENROLMENTS, RULE)
    take(tree, remove("buys"), remove("shops", leave_empty=True))
    tree.validate()
    assert tree.shown.kind[:3].tolist() == [1, 0, 0]
    take(tree, enrol("next", "top", status="A", rank=2))
    tree.validate()
    assert tree.shown.rank[:3].tolist() == [9, 2, 0], "whoever gets the row has nothing of the one before"


@pytest.mark.parametrize("seed", range(6))
def test_histories_keep_it_true_through_restarts_layouts_and_growth(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    tree = random_tree(seed)
    ids = ids_of_tree(tree)
    for number in range(300, 340):
        rules = [customers_set("A"), customers_set("B", "X", rank_zero=True), customers_set(rank_zero=True)]
        tree.apply(tree.position + 1, [random_update(dice, number, ids), dice.choice(rules)])
        tree.validate()
        meta, arrays = tree.state()
        restored = Tree.from_state(meta, {name: array.copy() for name, array in arrays.items()})
        fresh = tree.relayout()
        for other in (restored, fresh):
            other.validate()
            assert (other.digest, other.rules) == (tree.digest, tree.rules)
        assert by_id(fresh) == by_id(tree) == by_id(restored)
        tree = dice.choice([tree, restored, fresh])
    tree.apply(tree.position + 1, [enrol(f"many-{number}", status="A", rank=1) for number in range(6_000)])
    tree.validate()
    assert by_id(mapped(written(tree, tmp_path / "kept"))) == by_id(tree)


def by_id(tree: Tree) -> list[tuple[bytes, int, int]]:
    used = tree.store.used
    words = tree.store.ids.words[:used]
    ids = [row.tobytes() for row in words]
    every = zip(ids, tree.shown.kind[:used].tolist(), tree.shown.rank[:used].tolist(), strict=True)
    return sorted(each for each in every if any(each[0]))


async def test_every_report_goes_by_it(services: Services) -> None:
    served = await services.start(built(*ENROLMENTS))
    before = await answers(served.stub)
    assert before == (DISTRIBUTOR, 5, ["shops"], ["buys", "top"], {"distributor": 2, "customer": 1}, {"3", "5", "9"})
    await served.node.apply([RULE])
    after = await answers(served.stub)
    assert after == (CUSTOMER, 0, ["buys", "shops"], ["top"], {"distributor": 1, "customer": 2}, {"0", "9"})
    await served.node.apply([customers_set()])
    assert await answers(served.stub) == before


async def answers(stub: object) -> tuple[int, int, list[str], list[str], dict[str, int], set[str]]:
    """Kind and rank of one who buys; the customers; those from rank 4 on; members by kind; the ranks that there are."""
    member = (await stub.GetMember(report_pb2.GetMemberRequest(member_id="buys"))).member  # type: ignore[attr-defined]

    async def listed(**wanted: object) -> list[str]:
        request = report_pb2.ListDownlineRequest(
            member_id="top",
            filter=report_pb2.DownlineFilter(**wanted),  # type: ignore[arg-type]
        )
        return ids_of((await stub.ListDownline(request)).members)  # type: ignore[attr-defined]

    summary = await stub.SummarizeDownline(report_pb2.SummarizeDownlineRequest(member_id="top"))  # type: ignore[attr-defined]
    groups = {each.dimension: {group.key: group.members for group in each.groups} for each in summary.summaries}
    return (
        member.kind,
        member.rank,
        await listed(kinds=[CUSTOMER]),
        await listed(min_rank=4),
        groups[report_pb2.SUMMARY_DIMENSION_KIND],
        set(groups[report_pb2.SUMMARY_DIMENSION_RANK]),
    )


def ids_of(members: Iterable[types_pb2.Member]) -> list[str]:
    return sorted(each.member_id for each in members)
