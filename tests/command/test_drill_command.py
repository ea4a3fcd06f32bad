"""What a drill gives to a shell."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from fasttree.client import Client, Endpoints, NodeEndpoint, NotFoundError, update_from_json
from fasttree.client.calls.streams import broken
from fasttree.client.drill.drill import Drill
from fasttree.client.drill.load import Load
from fasttree.client.drill.node_process import for_node
from fasttree.client.errors import call_error
from fasttree.command.session import Session
from fasttree.command.status.unfinished import problems, record_folder
from fasttree.v1 import coordinator_pb2, pusher_pb2, report_pb2, treenode_pb2, types_pb2
from tests.command.fasttree_command import FastTree


@pytest.mark.parametrize(
    "name",
    ["n1", "$(touch${IFS}made)", "`touch made`", "n1;touch made", "n1&touch made", "'n1'|touch made", '"', "{node}"],
)
def test_a_nodes_name_is_one_word_and_no_command(name: str, tmp_path: Path) -> None:
    ran = subprocess.run(for_node("printf %s {node}", name), shell=True, capture_output=True, cwd=tmp_path, check=True)
    assert ran.stdout.decode() == name
    assert list(tmp_path.iterdir()) == []


class Away:
    """A client of a cluster; three of its pushes are taken and come back without a receipt."""

    def __init__(self, *, for_good: bool = False) -> None:
        self.reports, self.position, self.pv = self, 7, 3
        self.taken: dict[str, types_pb2.Update] = {}
        self.endpoints = Endpoints(nodes=(NodeEndpoint(name="n1"),))
        self._for_good, self._pushes = for_good, 0

    async def push(self, updates: list[types_pb2.Update]) -> AsyncIterator[pusher_pb2.Receipt]:
        self._pushes += 1
        if not self._for_good:
            for update in updates:
                self.taken.setdefault(update.update_id, update)
        if self._for_good or self._pushes in (1, 3, 5):
            raise call_error(broken("nobody there"), "PushUpdates", "pusher:50300")
        yield pusher_pb2.Receipt(update_id=updates[0].update_id, position=7)

    async def get_member(self, member_id: str) -> report_pb2.GetMemberResponse:
        if any(update.HasField("member_removed") for update in self.taken.values()):
            raise NotFoundError(f"no member {member_id}")
        returned = sum(update.volume_posted.amount_hundredths for update in self.taken.values())
        return report_pb2.GetMemberResponse(member=types_pb2.Member(pv_hundredths=self.pv + returned))

    async def nodes(self) -> tuple[NodeEndpoint, ...]:
        return self.endpoints.nodes

    async def get_digest(self, instant_address: str, position: int) -> treenode_pb2.GetDigestResponse:
        return treenode_pb2.GetDigestResponse(digest=1)

    async def get_cluster(self) -> coordinator_pb2.Cluster:
        return coordinator_pb2.Cluster(primary="n1")


def drill_of(client: Away, wait_s: float) -> Drill:
    """One that has been broken off under load."""
    drill = Drill(cast("Client", client), None, load=Load(1, 1), wait_s=wait_s)
    drill._primary_before = "n1"
    return drill


async def test_the_undoing_goes_on_until_each_update_has_its_receipt() -> None:
    client = Away()
    drill = drill_of(client, 20.0)
    assert drill.left_behind().startswith("NOT undone: ")
    await drill._undo()
    assert drill.left_behind() == ""
    changes = [update.WhichOneof("change") for update in client.taken.values()]
    assert changes == ["member_enrolled", "volume_posted", "member_removed"]
    assert list(client.taken.values())[1].volume_posted.amount_hundredths == -3


async def test_what_could_not_be_undone_is_said_with_the_commands_that_undo_it() -> None:
    drill = drill_of(Away(for_good=True), 0.3)
    await drill._undo()
    said = drill.left_behind()
    assert said.startswith("NOT undone (the drill's member was not removed; waited 0.3 s (")
    assert said.endswith("`fasttree switchover --to n1` gives that one its role back")
    removal = update_from_json(said.partition("echo '")[2].partition("'")[0])
    assert removal.update_id == f"{removal.member_removed.member_id}-remove"
    assert removal.member_removed.volume == types_pb2.REMOVAL_VOLUME_LEAVES


async def test_what_has_to_be_undone_is_written_where_the_next_command_looks(
    fasttree: FastTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    of_kubernetes = record_folder(Session(context="eu/prod", namespace="live"))
    assert of_kubernetes == tmp_path / "ha-fasttree" / "drills" / "eu%2Fprod+live"
    # A name that is mistyped makes no folder; neither do two that go ill together.
    for words, said in (
        (("--endpoints", "wrong/endpoints.json", "drill", "--yes"), "wrong/endpoints.json"),
        (("drill", "--undo", "--no-kill"), "--undo begins no drill: leave out --no-kill and --kill-command"),
    ):
        ran = await fasttree(*words)
        assert (ran.code != 0, said in ran.err) == (True, True), ran.err
        assert not (tmp_path / "wrong").exists()
        assert not (tmp_path / "drill").exists()


def test_a_record_that_can_not_be_read_is_a_fault_of_the_status(tmp_path: Path) -> None:
    session = Session(endpoints_path=tmp_path / "endpoints.json")
    assert problems(session) == []
    file = record_folder(session) / "drill.json"
    file.parent.mkdir()
    file.write_text('{"name": 3}')
    (told,) = problems(session)
    assert (told.alert, told.fault) == ("FastTreeDrillNotUndone", True)
    assert told.text.startswith(f"what a drill left undone can't be read in {file} (")
    assert told.text.endswith("then remove the file")
