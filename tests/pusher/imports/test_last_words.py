"""What nodes said last of an import, where that is lost, and what is known without their word."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from fasttree.v1 import pusher_pb2, treenode_pb2
from services.pusher.imports.events import HostsKnown, ImportPlace, Load, NodeUp, RolloutAction
from services.pusher.imports.places import KnownImport
from services.pusher.imports.rollout import Rollout
from services.pusher.imports.settings import RolloutSettings
from tests.fakes.node import FakeNode
from tests.pusher.imports.test_imports import FILE, connected, ended, upload
from tests.pusher.imports.test_imports import nodes as nodes
from tests.pusher.running_pusher import push, running_pusher, stub_of
from tests.pusher.updates import orders
from tests.waiting import until

#: One took import 2, and the pusher died before it heard of that; import 3 came since.
SERVES = {"a:1": 2, "b:1": 1, "c:1": 1}
#: A load of it may still go on in whichever node a pusher asked before it died, with what its tree held.
KNOWN = (
    KnownImport(1, ImportPlace.DONE, taken=True),
    KnownImport(2, ImportPlace.ROLLING_OUT, taken=False),
    KnownImport(3, ImportPlace.ROLLING_OUT, taken=False),
)


async def test_what_a_node_stands_in_is_done_there_though_its_last_word_was_lost(
    tmp_path: Path, nodes: list[FakeNode]
) -> None:
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await connected(pusher)
        await upload(stub)
        await ended(stub)
        cut = treenode_pb2.LoadImportResponse(phase=treenode_pb2.IMPORT_PHASE_DOWNLOADING, reason="UNAVAILABLE: cut")
        pusher.catalog.set_progress(1, nodes[0].address, "one", cut)
        await pusher.catalog.set_place(1, ImportPlace.DONE)  # recorded with it
    async with running_pusher(tmp_path, nodes) as pusher:
        await connected(pusher)

        def said() -> dict[str, tuple[int, str]]:
            return {each.node: (each.progress.phase, each.progress.reason) for each in pusher.catalog.status(1).nodes}

        done = (treenode_pb2.IMPORT_PHASE_DONE, "")
        await until(lambda: said() == {"one": done, "two": done}, "the nodes' own word")


@pytest.mark.parametrize("coming", list(permutations(SERVES)), ids="-".join)
def test_whoever_comes_first_the_canary_serves_the_import_that_was_in_force_for_the_one_before(
    coming: tuple[str, ...],
) -> None:
    core = Rollout(RolloutSettings(), KNOWN)
    actions: list[RolloutAction] = core.handle(HostsKnown(tuple(SERVES)), 0.0)
    for node in coming:
        actions += core.handle(NodeUp(node, SERVES[node]), 0.0)
    (load,) = [action for action in actions if isinstance(action, Load)]
    assert (load.import_id, SERVES[load.node], core.in_force) == (3, 1, 1)


async def test_a_rollback_to_an_import_that_carried_nothing_asks_no_node_what_it_carried(
    tmp_path: Path, nodes: list[FakeNode]
) -> None:
    """The tree of the newer import may hold what the file of the older one has: it would count twice."""
    for node in nodes:
        node.tree.members.update({f"M{number}": ("", number) for number in range(5)})
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await connected(pusher)
        await push(stub, orders(0, 5))
        await upload(stub, FILE, as_of_position=4)
        await ended(stub)
        await upload(stub, b"member_id\nZ\n", name="worse.csv", as_of_position=4)
        await ended(stub)
        await stub.RollbackImport(pusher_pb2.RollbackImportRequest())
        assert (await ended(stub)).state == pusher_pb2.IMPORT_STATE_DONE
        asked = {load.manifest.import_id: load for load in nodes[0].loads if not load.manifest.carried_positions}
        assert {key: load.manifest.carried_known for key, load in asked.items()} == {1: False, 2: False, 3: True}
        assert {asked[number].carried_of_import_id for number in (1, 2)} == {0, 1}
