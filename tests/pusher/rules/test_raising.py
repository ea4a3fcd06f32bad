"""The version of the rules is raised once every known node knows it, and whoever is waited for is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.log.memory import MemoryLog
from services.pusher.log.store import LogStoreError
from services.pusher.rules import runner
from services.pusher.rules.founding import founded
from services.pusher.rules.raising import KnownVersions
from services.shared.config.sections import ClusterSettings
from services.shared.rules import RULE_VERSION, RulesHistory
from services.shared.wire.record import content_bytes
from tests.fakes.node import FakeNode
from tests.pusher.running_pusher import running_pusher, stub_of
from tests.waiting import until


def versions(due: list[types_pb2.Update]) -> list[int]:
    return [update.rule_version_raised.version for update in due]


def test_it_waits_for_every_node_of_the_cluster() -> None:
    known = KnownVersions(own=3)
    assert (known.raised(1), known.waits_for(1)) == ([], [])
    known.are_known(["a", "b"])
    known.says("a", 3)
    assert (known.raised(1), known.waits_for(1)) == ([], ["b"])
    known.says("b", 2)
    assert (versions(known.raised(1)), known.waits_for(1)) == ([2], ["b"])
    assert (known.raised(2), known.waits_for(2)) == ([], ["b"])
    known.says("stranger", 1)
    known.says("b", 4)
    assert versions(known.raised(2)) == [3]
    assert (known.raised(3), known.waits_for(3)) == ([], [])


def test_a_node_that_is_taken_out_is_not_waited_for_and_has_to_say_it_again() -> None:
    known = KnownVersions(own=2)
    known.are_known(["a", "b"])
    known.says("a", 2)
    known.are_known(["a"])
    assert versions(known.raised(1)) == [2]
    known.are_known(["a", "b"])
    assert known.waits_for(1) == ["b"]
    known.are_known([])
    assert known.raised(1) == []


async def test_the_record_comes_once_the_last_node_knows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "RULE_VERSION", RULE_VERSION + 1)
    nodes = [await FakeNode(name).start() for name in ("n1", "n2")]
    nodes[0].rule_version = RULE_VERSION + 1
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await until(lambda: all(node.position == 1 for node in nodes), "the nodes to have the rules")
        await until(lambda: len(pusher.fan_out.names) == 2, "the nodes to say their names")
        answer = await stub.GetPusher(pusher_pb2.GetPusherRequest())
        assert (answer.rules.version, list(answer.rule_version_waits_for)) == (RULE_VERSION, ["n2"])
        nodes[1].rule_version = RULE_VERSION + 1
        pusher.fan_out.skips_known([])  # has every node say anew where it stands
        await until(lambda: pusher.door.rules.version == RULE_VERSION + 1, "the version to be raised")
        await until(lambda: all(node.position == 2 for node in nodes), "the nodes to hear of it")
        assert pusher.rule_records.waits_for == []
    for node in nodes:
        await node.stop()


def test_a_pusher_of_an_earlier_build_leaves_the_log_alone() -> None:
    store = MemoryLog().claim_alone()
    founded(store, ClusterSettings())
    raised = types_pb2.Update(update_id="fasttree/rule-version")
    raised.rule_version_raised.version = RULE_VERSION + 1
    store.append([raised.update_id], [content_bytes(raised)], rules=(0,))
    assert RulesHistory(store.rule_records()).newest.version == RULE_VERSION + 1
    with pytest.raises(LogStoreError, match="upgrade it"):
        founded(store, ClusterSettings())
    assert store.ends().last == 2
