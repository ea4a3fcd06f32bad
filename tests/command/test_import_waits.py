"""`fasttree import --wait` ends once every node that can serves the import, also one that came back meanwhile."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fasttree.client import Client
from fasttree.command.imports.commands import until_all_serve
from fasttree.v1 import pusher_pb2, treenode_pb2, types_pb2

DONE, DOWNLOADING = treenode_pb2.IMPORT_PHASE_DONE, treenode_pb2.IMPORT_PHASE_DOWNLOADING


def status(second: treenode_pb2.ImportPhase.ValueType, reason: str = "") -> pusher_pb2.ImportStatus:
    found = pusher_pb2.ImportStatus(manifest=types_pb2.ImportManifest(import_id=2), state=pusher_pb2.IMPORT_STATE_DONE)
    for node, phase in (("n1", DONE), ("n2", second)):
        found.nodes.add(node=node).progress.phase = phase
    found.nodes[1].progress.reason = reason
    return found


class Pusher:
    """Answers one after the other, the last one again and again."""

    def __init__(self, *answers: tuple[pusher_pb2.ImportStatus, bool, int]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def get_pusher(self) -> pusher_pb2.GetPusherResponse:
        self.asked += 1
        found, connected, import_id = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        answer = pusher_pb2.GetPusherResponse(imports=[found])
        answer.nodes.add(node="n1", connected=True, import_id=2)
        answer.nodes.add(node="n2", connected=connected, import_id=import_id)
        return answer


async def waited(pusher: Any, patience_s: float = 60.0) -> pusher_pb2.ImportStatus:
    return await until_all_serve(cast("Client", pusher), status(DOWNLOADING), patience_s)


async def test_it_waits_for_the_node_that_downloads_yet(capsys: pytest.CaptureFixture[str]) -> None:
    pusher = Pusher((status(DOWNLOADING), True, 1), (status(DOWNLOADING), True, 1), (status(DONE), True, 2))
    assert (await waited(pusher)).nodes[1].progress.phase == DONE
    assert pusher.asked == 3
    assert capsys.readouterr().err == ""


async def test_a_phase_that_is_not_true_any_more_holds_nobody_up(capsys: pytest.CaptureFixture[str]) -> None:
    pusher = Pusher((status(DOWNLOADING), True, 2))
    await waited(pusher)
    assert (pusher.asked, capsys.readouterr().err) == (1, "")


@pytest.mark.parametrize(("connected", "patience_s"), [(False, 60.0), (True, 0.0)], ids=["away", "silent"])
async def test_one_that_does_not_come_is_told(
    connected: bool, patience_s: float, capsys: pytest.CaptureFixture[str]
) -> None:
    await waited(Pusher((status(DOWNLOADING, "Socket closed"), connected, 1)), patience_s)
    assert capsys.readouterr().err == "warning: n2 does not serve import 2 yet: Socket closed\n"
