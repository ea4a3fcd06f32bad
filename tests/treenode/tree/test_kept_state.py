"""A state that is kept, mapped: it answers what the tree answered then, while that tree goes on."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fasttree.v1 import report_pb2, types_pb2
from services.shared.files.durable import open_new
from services.treenode.reports.serving import SERVICE
from services.treenode.snapshots.state_file import StateDamagedError, check_state, map_state, read_state, write_state_to
from services.treenode.tree import StateError, Tree
from services.treenode.tree.building.kept import state_to_keep, tree_over
from tests.shared.rules.test_rules import closed, opened, type_added
from tests.treenode.reports.conftest import Served, Services
from tests.treenode.reports.genealogies import random_tree, random_update
from tests.updates import enrolled, posted

CLOSING = "2026-10"


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    opened_services = Services()
    yield opened_services
    await opened_services.close()


def written(tree: Tree, path: Path) -> Path:
    meta, arrays = state_to_keep(tree)
    descriptor = open_new(path)
    write_state_to(descriptor, {}, meta, arrays)
    os.close(descriptor)
    return path


def mapped(path: Path) -> Tree:
    check_state(path)
    state = map_state(path)
    return tree_over(state.meta, state.arrays, CLOSING)


def ids_of(tree: Tree) -> list[str]:
    words = tree.store.ids.words[: tree.store.used]
    ids = np.ascontiguousarray(words).view(f"S{words.shape[1] * 4}").ravel()
    return sorted(each.decode() for each in ids.tolist() if each)


def questions(ids: list[str], options: report_pb2.ReportOptions) -> list[tuple[str, Any]]:
    """Every report, of both trees, all columns, and with filters."""
    asked: list[tuple[str, Any]] = []
    for tree in (types_pb2.TREE_SPONSOR, types_pb2.TREE_PLACEMENT):
        chosen = report_pb2.ReportOptions()
        chosen.CopyFrom(options)
        chosen.tree = tree
        whole = report_pb2.ReportOptions()
        whole.CopyFrom(chosen)
        whole.columns.append("*")
        some = random.Random(tree).sample(ids, 12)
        asked += [("GetMember", report_pb2.GetMemberRequest(member_id=each, options=chosen)) for each in some]
        asked += [("ListUpline", report_pb2.ListUplineRequest(member_id=each, options=whole)) for each in some]
        asked += [("ListFrontLine", report_pb2.ListFrontLineRequest(member_id=each, options=whole)) for each in some]
        for member_id in ("", *some[:4]):
            asked += [
                ("SummarizeDownline", report_pb2.SummarizeDownlineRequest(member_id=member_id, options=chosen)),
                ("ListDownline", report_pb2.ListDownlineRequest(member_id=member_id, options=whole, page_size=7)),
                ("StreamDownline", report_pb2.StreamDownlineRequest(member_id=member_id, options=whole)),
            ]
        asked += [
            ("BatchGetMembers", report_pb2.BatchGetMembersRequest(member_ids=[*some, "nobody"], options=whole)),
            ("ListHoldingTank", report_pb2.ListHoldingTankRequest(options=chosen)),
            ("SearchMembers", report_pb2.SearchMembersRequest(prefix="A", options=whole)),
        ]
    plain: list[tuple[str, Any]] = [
        ("ListHeldUpdates", report_pb2.ListHeldUpdatesRequest()),
        ("ListRejectedUpdates", report_pb2.ListRejectedUpdatesRequest()),
    ]
    return asked + plain


def in_order(answer: Any) -> Any:
    """The answer with each member's volumes by type and period: whichever period comes first."""
    for member in getattr(answer, "members", ()):
        if isinstance(member, types_pb2.Member):
            member.volumes.sort(key=lambda volume: (volume.period, volume.volume_type))
    return answer


async def answers(served: Served, asked: list[tuple[str, Any]]) -> list[Any]:
    """What the service says; of errors, what they say."""
    said: list[Any] = []
    for name, request in asked:
        call = getattr(served.stub, name)(request)
        try:
            if SERVICE.methods_by_name[name].server_streaming:
                said.append([in_order(answer) async for answer in call])
            else:
                said.append(in_order(await call))
        except Exception as error:
            said.append((type(error).__name__, getattr(error, "details", lambda: "")()))
    return said


@pytest.mark.parametrize("seed", range(6))
async def test_every_report_says_what_it_said_then(services: Services, tmp_path: Path, seed: int) -> None:
    live = random_tree(seed)
    live.apply(live.position + 1, [opened("2026-12"), type_added("BV")])  # types and months without any volume
    path = written(live, tmp_path / "state")
    options = report_pb2.ReportOptions(period=CLOSING)
    asked = questions(ids_of(live), options)
    before = await answers(await services.start(live), asked)
    digest, position = live.digest, live.position

    live.apply(live.position + 1, [closed(CLOSING)])
    dice, ids = random.Random(seed), ids_of(live)
    live.apply(live.position + 1, [random_update(dice, 1_000 + number, ids) for number in range(60)])
    live.validate()
    kept = mapped(path)
    assert (kept.digest, kept.position) == (digest, position)
    assert kept.digest != live.digest

    served = await services.start(kept)
    after = await answers(served, asked)
    for (name, request), then, now in zip(asked, before, after, strict=True):
        assert now == then, f"{name} {request}"
    # Without a period, its own is meant.
    unnamed = await served.stub.SummarizeDownline(report_pb2.SummarizeDownlineRequest())
    named = await served.stub.SummarizeDownline(report_pb2.SummarizeDownlineRequest(options=options))
    assert unnamed == named
    described = await served.stub.DescribeTree(report_pb2.DescribeTreeRequest())
    assert list(described.periods) == [CLOSING, "2026-11", "2026-12"]
    assert list(described.volume_types) == ["PV", "CV", "BV"]
    read = read_state(path)
    Tree.from_state(read.meta, read.arrays).validate()


def test_the_tree_has_the_files_arrays_and_the_file_stays_as_it_is(tmp_path: Path) -> None:
    path = written(random_tree(1), tmp_path / "state")
    content = path.read_bytes()
    kept = mapped(path)
    for column in (kept.store.kind, kept.store.personal, kept.sponsor.group, kept.placement.row_at):
        assert not column.flags.owndata
        assert column.flags.writeable  # as the live tree's: kernels are compiled for arrays that are
    kept.store.kind[0] = 77
    assert path.read_bytes() == content


def test_zeros_of_types_and_periods_that_nobody_has_take_one_row(tmp_path: Path) -> None:
    tree = random_tree(2)
    tree.apply(tree.position + 1, [opened(f"2027-{month:02}") for month in range(1, 13)])
    kept = mapped(written(tree, tmp_path / "state"))
    assert len(kept.store.personal) == 5
    assert len(tree.slots.keys) == 28
    assert {kept.slots.of("CV", f"2027-{month:02}") for month in range(1, 13)} == {4}
    assert not kept.store.personal[4].any()


def test_a_state_of_a_tree_whose_slots_are_all_used(tmp_path: Path) -> None:
    tree = random_tree(3)
    kept = mapped(written(tree, tmp_path / "state"))
    assert kept.slots.keys == tree.slots.keys
    assert kept.periods == (CLOSING, "2026-11")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda meta, arrays: meta.update(format=4),
        lambda meta, arrays: meta.update(digest=1),
        lambda meta, arrays: arrays.pop("magnitudes"),
        lambda meta, arrays: arrays.update(rank=arrays["rank"][:-1]),
        lambda meta, arrays: arrays.update(kind=arrays["kind"].astype(np.int64)),
    ],
)
def test_what_does_not_fit_is_no_tree(tmp_path: Path, spoil: Callable[[Any, Any], Any]) -> None:
    meta, arrays = state_to_keep(random_tree(4))
    spoil(meta, arrays)
    with pytest.raises(StateError):
        tree_over(meta, arrays, CLOSING)


def test_a_damaged_file_is_found_before_it_is_mapped(tmp_path: Path) -> None:
    path = written(random_tree(5), tmp_path / "state")
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(StateDamagedError):
        check_state(path)


def test_before_a_period_is_closed_for_good_somebody_is_told() -> None:
    tree, told = random_tree(6), list[tuple[int, str, int]]()

    def note(seen: Tree, period: str) -> None:
        told.append((seen.position, period, seen.digest))
        assert not seen.changing
        seen.validate()

    first = tree.position + 1
    updates = [
        *(posted(f"O-{number}", "nobody") for number in range(5)),
        *(enrolled("NEW-1"), closed(CLOSING, "2026-11-05"), posted("late", "NEW-1"), closed(CLOSING)),
        *(closed(CLOSING), closed("2026-11"), opened("2026-12", current=True), closed("2026-11")),
    ]
    digests = []
    other = random_tree(6)
    for place, update in enumerate(updates):
        digests.append(other.digest)
        other.apply(first + place, [update])
    tree.apply(first, updates, note)
    assert tree.digest == other.digest
    # Late days close nothing for good, nor does what is refused.
    assert told == [(first + 7, CLOSING, digests[8]), (first + 11, "2026-11", digests[12])]
