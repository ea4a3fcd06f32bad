"""Coordinators and pushers of the client's lists, in `fasttree status` and `fasttree doctor`: which is active, who is
silent, who is unfit. One that is away holds nobody up."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from fasttree.client import Client, Endpoints, NodeEndpoint
from fasttree.command.doctor import cluster as of_cluster
from fasttree.command.session import Session
from fasttree.command.status.looking import Seen, look, status_client
from fasttree.command.status.shown import status_lines
from fasttree.command.top.shown import top_lines
from fasttree.v1 import coordinator_pb2, pusher_pb2, pusher_pb2_grpc
from services.shared.serving import errors
from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster
from tests.fakes.coordinator import FakeCoordinator
from tests.fakes.server import Fake

NOWHERE = "127.0.0.1:1"
#: `Client.get_cluster` waits so long for the first of a list: what a look must not.
PATIENT_S = 3.0


class StandbyPusher(Fake, pusher_pb2_grpc.PusherServiceServicer):
    """One of several that is not active."""

    adders = (pusher_pb2_grpc.add_PusherServiceServicer_to_server,)

    def __init__(self, says: str) -> None:
        super().__init__()
        self._says = says

    async def GetPusher(self, request: pusher_pb2.GetPusherRequest, context: Any) -> pusher_pb2.GetPusherResponse:
        raise errors.FailedPreconditionError(self._says, reason="STANDBY")


@pytest.fixture
def frozen() -> Iterator[str]:
    """host:port of a machine that takes connections, and nobody there answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@contextlib.asynccontextmanager
async def standby_coordinator(active: str, says: str) -> AsyncIterator[FakeCoordinator]:
    coordinator = FakeCoordinator()
    coordinator.cluster.coordinator = active
    coordinator.cluster.standby = says
    await coordinator.start()
    try:
        yield coordinator
    finally:
        await coordinator.stop()


async def looked(endpoints: Endpoints, folder: Path) -> Seen:
    endpoints.write(folder / "endpoints.json")
    session = Session(endpoints_path=folder / "endpoints.json")
    async with status_client(session) as client:
        return await look(session, client)


def shown(seen: Seen, word: str) -> list[str]:
    """The lines that begin so."""
    texts = ["".join(text.text for text in line) for line in status_lines(seen)]
    return [text for text in texts if text.startswith(word)]


async def test_each_coordinator_of_the_list_is_shown(cluster: FakeCluster, frozen: str, tmp_path: Path) -> None:
    active = cluster.coordinator.address
    cluster.coordinator.cluster.coordinator = active
    cut_off = "this coordinator stands by, and can't see which one is active: nobody answers at db1:5432"
    async with (
        standby_coordinator(active, f"this coordinator stands by: c-0 is active at {active}") as standby,
        standby_coordinator(active, cut_off) as unfit,
    ):
        addresses = [frozen, NOWHERE, standby.address, unfit.address, active]
        begun_s = monotonic()
        seen = await looked(replace(cluster.endpoints, coordinator=",".join(addresses)), tmp_path)
        assert monotonic() - begun_s < PATIENT_S
    assert [(each["address"], each["state"]) for each in seen.json["coordinators"]] == [
        (frozen, "not reached"),
        (NOWHERE, "not reached"),
        (standby.address, "standby"),
        (unfit.address, "unfit"),
        (active, "active"),
    ]
    told = shown(seen, "coordinator at")
    assert told[0] == f"coordinator at {frozen}: not reached; no answer in time"
    assert told[1].startswith(f"coordinator at {NOWHERE}: not reached; Connection refused")
    assert told[2:] == [
        f"coordinator at {standby.address}: standby",
        f"coordinator at {unfit.address}: unfit; can't see which one is active: nobody answers at db1:5432",
        f"coordinator at {active}: active",
    ]
    # The active one's word counts, and somebody acts: nothing of it is a fault.
    assert (seen.content["primary"], seen.content["note"], seen.problems) == ("n1", "", [])
    findings = [finding async for finding in of_cluster.standing(seen)]
    for address in (frozen, NOWHERE):
        assert [
            each.text for each in findings if each.text.startswith(f"the coordinator at {address} can't be reached: ")
        ]
    (of_unfit,) = [finding for finding in findings if unfit.address in finding.text]
    assert "can't see which one is active: nobody answers at db1:5432" in of_unfit.text
    assert of_unfit.mend.startswith("its way to the store")
    assert all(finding.mend for finding in findings)


async def test_none_that_acts_is_a_fault_of_who_can_not(cluster: FakeCluster, tmp_path: Path) -> None:
    says = "this coordinator stands by, and can't see which one is active: nobody answers at db1:5432"
    async with standby_coordinator(NOWHERE, says) as one, standby_coordinator(NOWHERE, says) as other:
        endpoints = replace(cluster.endpoints, coordinator=f"{NOWHERE},{one.address},{other.address}")
        seen = await looked(endpoints, tmp_path)
    assert [problem.split(":")[0] for problem in seen.problems] == ["the coordinator at 127.0.0.1"] * 3
    assert seen.has_view


async def test_two_that_act_are_a_fault(cluster: FakeCluster, tmp_path: Path) -> None:
    """Each has a record of its own: two elections of one cluster."""
    async with standby_coordinator("", "") as other:
        both = (cluster.coordinator.address, other.address)
        seen = await looked(replace(cluster.endpoints, coordinator=",".join(both)), tmp_path)
    assert seen.problems == [f"{' and '.join(both)} both say that they are the active coordinator"]


async def test_one_coordinator_alone_has_no_line_where_it_acts(cluster: FakeCluster, tmp_path: Path) -> None:
    seen = await looked(cluster.endpoints, tmp_path)
    assert shown(seen, "coordinator") == []
    assert seen.json["coordinators"] == [{"address": cluster.coordinator.address, "state": "active", "note": ""}]
    says = "this coordinator stands by: none is active yet"
    async with standby_coordinator("", says) as standby:
        seen = await looked(replace(cluster.endpoints, coordinator=standby.address), tmp_path)
        assert shown(seen, "coordinator") == [f"coordinator at {standby.address}: standby; none is active yet"]


async def test_pushers_that_the_coordinator_has_not_heard_are_shown(
    cluster: FakeCluster, frozen: str, tmp_path: Path
) -> None:
    active = cluster.pusher.address
    cluster.coordinator.cluster.pusher = "p1"
    heard = cluster.coordinator.cluster.pushers.add(name="p1", address=active, alive=True)
    heard.status.state = coordinator_pb2.PUSHER_STATE_ACTIVE
    standby = await StandbyPusher("this pusher stands by: the coordinator has named no active one yet").start()
    try:
        endpoints = replace(cluster.endpoints, pusher=f"{frozen},{NOWHERE},{standby.address},{active}")
        begun_s = monotonic()
        seen = await looked(endpoints, tmp_path)
        assert monotonic() - begun_s < PATIENT_S
        assert [each["address"] for each in seen.json["pushers_not_named"]] == [frozen, NOWHERE, standby.address]
        assert seen.has_pusher
        told = shown(seen, "pusher")
        assert told[0] == f"pusher p1 at {active}: active, epoch 0, position 0"
        assert told[1] == f"pusher at {frozen}: not heard by the coordinator, not reached; no answer in time"
        assert told[3] == (
            f"pusher at {standby.address}: not heard by the coordinator, standby; "
            "the coordinator has named no active one yet"
        )
        findings = [finding async for finding in of_cluster.standing(seen)]
        assert len([each for each in findings if "the coordinator has not heard the pusher at" in each.text]) == 3
        # It is heard under another address than the list has for it: of who answers nothing can be said.
        cluster.coordinator.cluster.pushers.add(name="p2", address="dtx02:50300", alive=True)
        seen = await looked(endpoints, tmp_path)
        assert [each["address"] for each in seen.json["pushers_not_named"]] == [frozen, NOWHERE]
    finally:
        await standby.stop()


async def test_one_pusher_alone_need_not_be_heard(cluster: FakeCluster, tmp_path: Path) -> None:
    assert (await looked(cluster.endpoints, tmp_path)).json["pushers_not_named"] == []


async def test_the_command_shows_them_and_ends_with_0(cluster: FakeCluster, tmp_path: Path) -> None:
    active = cluster.coordinator.address
    fasttree = FastTree(tmp_path, replace(cluster.endpoints, coordinator=f"{NOWHERE},{active}"))
    ran = await fasttree("status")
    assert (ran.code, ran.err) == (0, "")
    assert f"coordinator at {active}: active" in ran.out.splitlines()
    as_json = await fasttree("status", "--json")
    assert [each["state"] for each in as_json.json["coordinators"]] == ["not reached", "active"]


async def test_a_second_process_of_a_pushers_name_is_told(cluster: FakeCluster, tmp_path: Path) -> None:
    heard = cluster.coordinator.cluster.pushers.add(name="p1", address=cluster.pusher.address, alive=True)
    heard.status.state = coordinator_pb2.PUSHER_STATE_ACTIVE
    heard.status.note = "another process asks for its name and is refused: end it, or set another pusher.name there"
    (finding,) = [each async for each in of_cluster.standing(await looked(cluster.endpoints, tmp_path))]
    assert (finding.alert, finding.mend) == ("FastTreeNameTakenTwice", "as it says")
    assert finding.text == f"the pusher p1: {heard.status.note}"


async def test_why_a_node_refuses_the_log_is_told_by_the_node(cluster: FakeCluster, tmp_path: Path) -> None:
    why = "the log has lost updates; bring the right log back, or say `fasttree log adopt`"
    cluster.nodes[1].refused = ("log-2", why)
    seen = await looked(cluster.endpoints, tmp_path)
    async with Client(cluster.endpoints) as client:
        (finding,) = [each async for each in of_cluster.nodes(client, seen)]
    assert finding.text == f"n2 refuses the pusher, and serves on: {why}"
    assert (finding.alert, finding.mend, finding.fault) == ("FastTreeLogRefused", "as it says", True)


async def test_why_a_pusher_is_unfit_is_its_own_word(cluster: FakeCluster, tmp_path: Path) -> None:
    unfit = cluster.coordinator.cluster.pushers.add(name="p1", alive=True)
    unfit.status.state = coordinator_pb2.PUSHER_STATE_UNFIT
    unfit.status.note = "this log was moved to postgresql db1: set pusher.log_url"
    (finding,) = [each async for each in of_cluster.standing(await looked(cluster.endpoints, tmp_path))]
    assert finding.text == "p1 can't be active: this log was moved to postgresql db1: set pusher.log_url"
    assert (finding.alert, finding.mend) == ("FastTreePusherUnfit", "as it says")


async def test_a_node_that_the_coordinator_has_not_heard_is_shown(cluster: FakeCluster, tmp_path: Path) -> None:
    """It was dead as the coordinator began. One that is listed under another name is not taken for another node."""
    n1, n2 = cluster.endpoints.nodes
    instant = cluster.coordinator.cluster.nodes[0].address.instant = n1.instant
    nodes = (replace(n1, name="first"), n2, NodeEndpoint(name="n3", report=n1.report, instant=NOWHERE))
    seen = await looked(replace(cluster.endpoints, nodes=nodes), tmp_path)
    assert instant
    assert [(node["node"], node["state"]) for node in seen.json["nodes"]] == [
        ("n1", "primary"),
        ("n2", "passive"),
        ("n3", "not heard"),
    ]
    (line,) = shown(seen, "n3")
    assert "not heard" in line
    (found,) = [problem for problem in seen.found if "n3" in problem.text]
    assert found.text == "the coordinator has not heard n3, which the endpoints file names"
    assert (found.alert, found.fault, seen.problems) == ("FastTreeServiceDown", False, [])
    (finding,) = [each async for each in of_cluster.standing(seen) if "n3" in each.text]
    assert finding.mend.startswith("start it, or look at its log")


async def test_how_old_it_is_what_a_standby_tells(cluster: FakeCluster, tmp_path: Path) -> None:
    """Where none is active; an active one's clock is not asked, for it says how it is now."""
    says = "this coordinator stands by, and can't see which one is active: nobody answers at db1:5432"
    began_s = time.time()
    async with standby_coordinator("", says) as standby:
        for coordinator in (standby, cluster.coordinator):
            coordinator.cluster.observed_at.FromSeconds(int(began_s) - 100)
        old = await looked(replace(cluster.endpoints, coordinator=standby.address), tmp_path)
        standby.cluster.observed_at.FromMilliseconds(int(began_s * 1_000))
        young = await looked(replace(cluster.endpoints, coordinator=standby.address), tmp_path)
    present = await looked(cluster.endpoints, tmp_path)
    assert 100_000 <= (old.json["view_age_ms"] or 0) < 130_000
    (line,) = shown(old, "as a coordinator that stands by was told 10")
    assert line.endswith(" s ago: nobody says how it is now")
    assert line in ["".join(text.text for text in line) for line in top_lines(old, [])]
    assert (young.json["view_age_ms"] is None, shown(young, "as a coordinator")) == (False, [])
    assert (present.json["view_age_ms"], shown(present, "as a coordinator")) == (None, [])
