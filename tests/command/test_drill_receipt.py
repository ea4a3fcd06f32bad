"""What a drill came to, beside the testing procedure of 2016; and what it looks at first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web

from fasttree.client import Client, Endpoints, NodeEndpoint
from fasttree.client.drill import receipt
from fasttree.client.drill.drill import Drill
from fasttree.client.drill.load import Load
from fasttree.client.drill.looks import NotTriedError, hits_in_logs, newest_import, traffic_is_the_primarys
from fasttree.client.drill.receipt import DrillError, Step, results
from fasttree.command.cluster.drill import print_receipt
from fasttree.v1 import coordinator_pb2, pusher_pb2, report_pb2, types_pb2

ALL = (
    receipt.READY, receipt.IMPORTED, receipt.TRAFFIC, receipt.HITS, receipt.SWITCHOVER, receipt.KILLED, receipt.BACK,
    receipt.NOTHING_LOST, receipt.READS, receipt.UNDONE,
)  # fmt: skip


def steps(*bad: str, without: tuple[str, ...] = ()) -> list[Step]:
    return [
        Step(name, True, name not in bad, problem="it failed" * (name in bad)) for name in ALL if name not in without
    ]


def words(found: list[receipt.Result]) -> dict[str, str]:
    return {each.section.title: each.word for each in found}


def test_every_step_of_the_drill_shows_a_section_and_every_section_is_shown() -> None:
    shown = [name for section in receipt.PROCEDURE for name in section.shown_by]
    assert sorted(shown) == sorted(set(ALL) - {receipt.UNDONE})
    assert set(words(results(steps(), {})).values()) == {"good"}


def test_a_bad_step_is_its_sections_and_no_others() -> None:
    found = results(steps(receipt.KILLED), {})
    assert [title for title, word in words(found).items() if word == "BAD"] == ["Two FastTree Servers: failover"]
    assert next(each.why for each in found if each.word == "BAD") == "primary killed: it failed"


def test_what_was_not_tried_is_said_with_the_reason() -> None:
    left_out = {receipt.IMPORTED: "there was no import yet", receipt.KILLED: "--no-kill", receipt.BACK: "--no-kill"}
    found = results(steps(without=tuple(left_out)), left_out)
    by_title = {each.section.title: each for each in found}
    assert by_title["Importing large reporting files"][1:] == ("not tried", "there was no import yet")
    said = "planned switchover, primary killed not tried, killed node back not tried"
    assert by_title["Two FastTree Servers: failover"][1:] == ("good", said)
    ended = {each.section.title: each for each in results([Step(receipt.READY, problem="no primary")], {})}
    assert ended["Monitoring FastTree hits"][1:] == ("not tried", "the drill ended before")


def test_both_tables_are_printed_and_both_are_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_receipt(steps(), {}, as_json=False)
    printed = capsys.readouterr().out
    assert "testing procedure of 2016" in printed
    assert "Real Time Data" in printed
    print_receipt(steps(receipt.HITS), {}, as_json=True)
    content = json.loads(capsys.readouterr().out)
    assert (content["good"], len(content["steps"]), len(content["procedure_2016"])) == (False, 10, 5)


# -- looks


class Cluster:
    """Says what a test wants."""

    def __init__(self, imports: dict[str, int], answers: tuple[str, ...] = ("n1",)) -> None:
        self.reports, self.endpoints = self, Endpoints()
        self.tls = self.token = None
        self._imports, self._answers = imports, list(answers)

    async def get_pusher(self) -> pusher_pb2.GetPusherResponse:
        return pusher_pb2.GetPusherResponse(imports=[pusher_pb2.ImportStatus()] * bool(self._imports))

    async def get_cluster(self) -> coordinator_pb2.Cluster:
        nodes = [
            coordinator_pb2.ClusterNode(
                address=coordinator_pb2.NodeAddress(name=name),
                status=coordinator_pb2.NodeStatus(import_id=import_id),
                alive=True,
            )
            for name, import_id in self._imports.items()
        ]
        return coordinator_pb2.Cluster(primary="n1", nodes=nodes)

    async def get_member(self, member_id: str) -> report_pb2.GetMemberResponse:
        self._answers.append(self._answers.pop(0))
        return report_pb2.GetMemberResponse(as_of=types_pb2.AsOf(node=self._answers[0]))


async def test_an_import_that_is_not_everywhere_is_found() -> None:
    assert await newest_import(cast("Client", Cluster({"n1": 3, "n2": 3}))) == {"import_id": 3, "nodes": 2}
    with pytest.raises(DrillError, match="n2 does not serve import 3 yet"):
        await newest_import(cast("Client", Cluster({"n1": 3, "n2": 2})))
    with pytest.raises(NotTriedError, match="no import yet"):
        await newest_import(cast("Client", Cluster({})))


async def test_reads_that_others_answer_are_found() -> None:
    assert await traffic_is_the_primarys(cast("Client", Cluster({})), "m")
    assert not await traffic_is_the_primarys(cast("Client", Cluster({}, ("n1", "n2"))), "m")


async def test_logs_that_can_not_be_had_are_told_from_silent_ones(tmp_path: Path) -> None:
    lines = {"full": "5 drill volume\n"}
    application = web.Application()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=lines["full"])

    application.router.add_get("/debug/hpushup.log", page)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    cluster = Cluster({})
    there = NodeEndpoint(name="n1", http=f"127.0.0.1:{runner.addresses[0][1]}")
    cluster.endpoints = Endpoints(nodes=(there,))
    assert await hits_in_logs(cast("Client", cluster)) == {"nodes": 1}
    lines["full"] = "\n"
    with pytest.raises(DrillError, match="the log of updates of n1 has no line"):
        await hits_in_logs(cast("Client", cluster))
    await runner.cleanup()
    with pytest.raises(NotTriedError, match="does not answer"):
        await hits_in_logs(cast("Client", cluster))
    cluster.endpoints = Endpoints(nodes=(NodeEndpoint(name="n1"),))
    with pytest.raises(NotTriedError, match="names no HTTP port of n1"):
        await hits_in_logs(cast("Client", cluster))
    cluster.endpoints = Endpoints()
    with pytest.raises(NotTriedError, match="no endpoints file names the nodes"):
        await hits_in_logs(cast("Client", cluster))


async def test_what_one_look_finds_wrong_keeps_no_other_from_being_tried() -> None:
    cluster = Cluster({"n1": 3, "n2": 2}, ("n2",))
    cluster.endpoints = Endpoints(nodes=(NodeEndpoint(name="n1"),))
    drill = Drill(cast("Client", cluster), None, load=Load(1, 1), wait_s=0.2)
    await drill._look()
    assert [(step.name, step.good) for step in drill.steps] == [(receipt.IMPORTED, False), (receipt.TRAFFIC, False)]
    assert drill.not_tried[receipt.HITS] == "the endpoints file names no HTTP port of n1"
    assert drill.not_tried[receipt.KILLED] == "--no-kill"
