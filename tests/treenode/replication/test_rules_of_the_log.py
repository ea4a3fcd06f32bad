"""A node takes what updates mean from the log and the import's manifest, never from its own settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from fasttree.v1 import treenode_pb2, types_pb2
from services.shared.config.sections import ClusterSettings
from services.shared.rules import rules_message, rules_of
from services.treenode.app import TreeNode
from tests.fakes.pusher import FOUNDING, FakePusher, fake_pusher
from tests.fakes.pusher_stream import EndedError, Stream
from tests.fakes.server import CLUSTER
from tests.shared.rules.test_rules import after, closed, declared, founded, opened
from tests.treenode.running_node import load_import, running_node
from tests.treenode.tree.reads import row_of
from tests.updates import enrolled, posted

OTHER = ClusterSettings(name=CLUSTER, volume_types=["CV"], periods=["2031-01"])
FILE = b"member_id,sponsor_id,status,rank,joined_on,pv\n" + b"".join(
    b"%s,%s,A,0,,%d.00\n" % (member, sponsor, at)
    for at, (member, sponsor) in enumerate([(b"A", b""), (b"B", b"A"), (b"C", b"B")], 1)
)


def volume(node: TreeNode, period: str) -> int:
    """Everybody's volume of a period."""
    tree = node.runner.in_force.tree
    return int(tree.store.personal[tree.slots.of("PV", period), : tree.store.used].sum())


async def follow(node: TreeNode, pusher: FakePusher) -> int:
    """The node takes the whole log; its digest then."""
    async with Stream(node, pusher) as stream:
        await stream.hello()
        await stream.send(range(node.runner.core.sequence.position + 1, len(pusher.updates) + 1))
    return node.runner.in_force.tree.digest


async def test_nodes_with_other_settings_come_to_the_same(tmp_path: Path) -> None:
    async with (
        fake_pusher() as pusher,
        running_node(tmp_path / "one") as one,
        running_node(tmp_path / "two", name="n2", cluster=OTHER) as two,
    ):
        rules = rules_of(["PV"], ["2026-11", "2026-10"])
        pusher.updates = [
            *[founded(rules), enrolled("A"), posted("o-1", "A"), opened("2026-12", current=True)],
            *[posted("o-2", "A", 7), closed("2026-10")],
        ]
        assert await follow(one, pusher) == await follow(two, pusher)
        assert (volume(two, "2026-11"), volume(two, "2026-12")) == (100, 7)
        manifest = pusher.add_import(1, FILE, 3)
        manifest.rules.CopyFrom(rules_message(rules))
        for node in (one, two):
            last = (await load_import(node, pusher, manifest))[-1]
            assert last.phase == treenode_pb2.IMPORT_PHASE_DONE
        assert one.runner.in_force.tree.digest == two.runner.in_force.tree.digest
        assert (volume(two, "2026-11"), volume(two, "2026-12")) == (600, 7)


async def test_a_file_that_comes_back_means_what_it_meant(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        rules = rules_of(["PV"], ["2026-11"])
        pusher.updates = [founded(rules), opened("2026-12", current=True)]
        await follow(node, pusher)
        for import_id, as_of in ((1, 1), (2, 2), (3, 1)):
            manifest = pusher.add_import(import_id, FILE, as_of, force=True)
            manifest.rules.CopyFrom(rules_message(rules))
            if as_of == 2:
                manifest.rules.open_periods.append("2026-12")
                manifest.rules.current_period = "2026-12"
            await load_import(node, pusher, manifest)
            month = "2026-12" if as_of == 2 else "2026-11"
            assert volume(node, month) == 600
            assert volume(node, "2026-11") + volume(node, "2026-12") == 600


async def test_a_carried_order_means_the_month_that_was_current_at_its_own_position(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        rules = rules_of(["PV"], ["2026-11"])
        pusher.updates = [founded(rules), posted("early", "C", 5), opened("2026-12", current=True)]
        await follow(node, pusher)
        assert node.runner.in_force.tree.held_count == 1
        manifest = pusher.add_import(1, FILE, 3)
        manifest.rules.CopyFrom(rules_message(rules))
        manifest.rules.open_periods.append("2026-12")
        manifest.rules.current_period = "2026-12"
        manifest.current_periods.add(position=0, period="2026-11")
        manifest.current_periods.add(position=3, period="2026-12")
        await load_import(node, pusher, manifest)
        assert (volume(node, "2026-11"), volume(node, "2026-12")) == (5, 600)


async def test_an_empty_node_needs_a_pusher_that_says_how_its_log_began(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        hello = treenode_pb2.PusherHello(cluster=CLUSTER, log_id=pusher.log_id, pusher_address=pusher.address)
        first = treenode_pb2.ApplyUpdatesRequest(hello=hello, log_end=pusher.log_end())
        async with Stream(node, pusher) as stream:
            with pytest.raises(EndedError, match="which rules its log begins with"):
                await stream.ask(first)
        # One that has a state knows its rules.
        pusher.updates = [founded(rules_of(["PV"], ["2026-11"])), enrolled("A")]
        await follow(node, pusher)
        first.log_end.CopyFrom(pusher.log_end())
        async with Stream(node, pusher) as stream:
            assert (await stream.ask(first)).status.position == 2


async def test_a_node_tells_what_its_file_brought_beyond_the_rules(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        pusher.updates = [types_pb2.Update(update_id="fasttree/founded", rules_founded=founded(FOUNDING).rules_founded)]
        pusher.updates[0].rules_founded.rules.version = 1
        await follow(node, pusher)
        manifest = pusher.add_import(1, FILE.replace(b",pv\n", b",qv:2026-08\n"), 1)
        manifest.rules.version = 1
        await load_import(node, pusher, manifest)
        status = node.runner.status()
        assert (list(status.file_volume_types), list(status.file_periods)) == (["QV"], ["2026-08"])


def of_member(node: TreeNode, member_id: str, name: str) -> str:
    tree = node.runner.in_force.tree
    return tree.further[name].text_at(row_of(tree, member_id))


async def test_declared_columns_stay_whatever_a_file_has(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        rules = rules_of(["PV"], ["2026-11"])
        change = types_pb2.MemberChanged(member_id="C", columns={"zip": "02134"})
        pusher.updates = [
            *[founded(rules), enrolled("A"), declared("zip"), enrolled("C", "A")],
            types_pb2.Update(update_id="zip", member_changed=change),
        ]
        await follow(node, pusher)
        assert of_member(node, "C", "zip") == "02134"
        named = FILE.replace(b",pv\n", b",pv,Zip\n").replace(b".00\n", b".00,0300\n")
        # A file of the time after the value: it is what the file says, be that nothing. One of before it: replayed.
        for import_id, file, as_of, expected in ((1, FILE, 5, ""), (2, named, 5, "0300"), (3, FILE, 4, "02134")):
            manifest = pusher.add_import(import_id, file, as_of, force=True)
            manifest.rules.CopyFrom(rules_message(after(rules, declared("zip"))))
            await load_import(node, pusher, manifest)
            assert of_member(node, "C", "zip") == expected
        manifest = pusher.add_import(4, named.replace(b",Zip", b",zip:decimal"), 5, force=True)
        manifest.rules.CopyFrom(rules_message(after(rules, declared("zip"))))
        refused = (await load_import(node, pusher, manifest))[-1]
        assert (refused.rejected_rows[0].line, refused.rejected_rows[0].column) == (1, "zip")
        assert of_member(node, "C", "zip") == "02134"
