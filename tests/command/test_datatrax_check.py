"""`fasttree datatrax check`: each thing that can be wrong is a line with the mend, and the exit code says so."""

from __future__ import annotations

import json
from email.utils import formatdate
from pathlib import Path

import pytest
from click.testing import CliRunner

from fasttree.client import Endpoints
from fasttree.command.datatrax import checking
from fasttree.command.datatrax.clocks import clock_difference_s
from fasttree.command.datatrax.places import Check, Place, read_place
from fasttree.command.main import cli
from fasttree.command.session import CommandError, Session
from fasttree.v1 import coordinator_pb2, pusher_pb2
from services.shared.domain.addresses import Host
from tests.command.printed import check_printed
from tests.datatrax.least_file import file_of

SAMPLE = Path(__file__).parents[1] / "datatrax/CBLDATATRAX.2016"
HOSTS = "127.0.0.1 1 50201\n"


def place_of(folder: Path, *, root: Path | None = None, endpoints: Endpoints | None = None) -> Place:
    return read_place(folder, None, "", root, None, endpoints or Endpoints(vip="127.0.0.1:9"))


def wrong(checks: list[Check]) -> list[str]:
    return [f"{check.what}: {check.said}" for check in checks if not check.good]


def laid_out(folder: Path, text: str, hosts: str = HOSTS) -> Path:
    (folder / "FT50201").mkdir(parents=True, exist_ok=True)
    (folder / "CBLDATATRAX").write_text(text)
    (folder / "hosts.50201").write_text(hosts)
    return folder


# -- what the files say


def test_a_sound_place_has_nothing_wrong(tmp_path: Path) -> None:
    place = place_of(laid_out(tmp_path, SAMPLE.read_text()))
    assert wrong(place.checks) == []
    assert (place.vip, place.cluster_name) == ("gvp01.dot.client.infotraxsys.com:50100", "dot-pre-test")
    assert place.hosts == [Host("127.0.0.1", 1, 50201)]
    # Whoever tries it has no such host: then the VIP is that of the endpoints.
    assert place_of(tmp_path, root=tmp_path).vip == "127.0.0.1:9"


@pytest.mark.parametrize(
    ("text", "hosts", "expected"),
    [
        (file_of(server_port_live="x"), HOSTS, "line 7: FastTree-server-port-live must be a port"),
        (file_of(server_live="127.0.0.1", server_port_live="1"), HOSTS, "line 3: FastTree-server-live is the node"),
        (file_of("FastTree-Instant-Server-Port=50201"), "a.example.com 1 50999\n", "FastTree-Instant-Server-Port is"),
        (file_of(enabled_primary_live="N"), HOSTS, "which environment is meant must be said"),
        (file_of(), "127.0.0.1 1\n", "hosts.50201, line 1: expected `host report-port instant-port`"),
        (file_of(), "# none\n", "has no node: write a line for each"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_files_is_told(tmp_path: Path, text: str, hosts: str, expected: str) -> None:
    found = wrong(place_of(laid_out(tmp_path, text, hosts)).checks)
    assert any(expected in line for line in found), found


def test_folders_are_there_and_writable(tmp_path: Path) -> None:
    laid_out(tmp_path / "datatrax", SAMPLE.read_text())
    endpoints = Endpoints(pusher="127.0.0.1:1")
    missing = wrong(place_of(tmp_path / "datatrax", root=tmp_path, endpoints=endpoints).checks)
    mend = "is not there: make it, for the user that the service runs as"
    assert missing == [
        f"FastTree-dir-test {tmp_path}/fasttree/dot/pre: {mend}",
        f"FastTree-upload-test {tmp_path}/fasttree/upload: {mend}",
    ]
    for folder in ("dot/pre", "upload"):
        (tmp_path / "fasttree" / folder).mkdir(parents=True)
    assert wrong(place_of(tmp_path / "datatrax", root=tmp_path, endpoints=endpoints).checks) == []
    # Of a pusher elsewhere they are elsewhere.
    elsewhere = place_of(tmp_path / "datatrax", endpoints=Endpoints(pusher="192.0.2.1:50300"))
    assert wrong(elsewhere.checks) == []
    (tmp_path / "datatrax/FT50201").rmdir()
    assert "FT50201: is not there: make it" in wrong(place_of(tmp_path / "datatrax").checks)[0]


# -- what the servers say


def test_a_vip_that_is_a_node_under_another_name_is_found() -> None:
    place = Place([Host("ftsp01", 50100, 50201)], 50201, "vip.example.com:50100", "", [])
    same: dict[str, set[str] | Check] = {"ftsp01": {"10.0.0.1"}, "vip.example.com": {"10.0.0.1", "10.0.0.9"}}
    assert checking._vip_is_no_node(place, same).said.startswith("is the node ftsp01:50100 itself: name the load")
    assert checking._vip_is_no_node(place, same | {"ftsp01": {"10.0.0.2"}}).good
    # Beside a node on one machine, at a port of its own.
    assert checking._vip_is_no_node(place._replace(vip="vip.example.com:50101"), same).good
    unknown = same | {"vip.example.com": Check("name", False, "")}
    assert not checking._vip_is_no_node(place, unknown).good
    assert not checking._vip_is_no_node(place._replace(vip=""), same).good


def test_servers_that_go_by_another_host_file_or_cluster_are_found() -> None:
    place = Place([Host("ftsp01", 50100, 50201)], 50201, "", "dot-live", [])
    endpoints = Endpoints(pusher="p:1", coordinator="c:1")
    cluster = coordinator_pb2.Cluster(name="dot-live", primary="ftsp01", hosts=["ftsp01:50100"])
    assert wrong(checking._coordinator_checks(place, endpoints, cluster)) == []
    cluster = coordinator_pb2.Cluster(
        name="dot-test", note="two nodes are away", hosts=["ftsp01:50100", "ftsp02:50100"]
    )
    assert wrong(checking._coordinator_checks(place, endpoints, cluster)) == [
        "coordinator c:1: answers; there is no primary: two nodes are away",
        "coordinator c:1: host file: differs from the one here in ftsp02:50100: have it read the same file",
        "coordinator c:1: cluster: is dot-test, and CBLDATATRAX makes it dot-live: set cluster.name, or MDIR",
    ]
    pusher = pusher_pb2.GetPusherResponse(closed_reason="the disk is full")
    assert wrong(checking._pusher_checks(place, endpoints, pusher)) == [
        "pusher p:1: takes nothing: the disk is full",
        "pusher p:1: host file: it goes by none: set cluster.hosts_file to the host file here",
    ]


def test_nodes_of_another_version_are_found() -> None:
    nodes = [
        coordinator_pb2.ClusterNode(
            address=coordinator_pb2.NodeAddress(name=name),
            status=coordinator_pb2.NodeStatus(rule_version=version),
            alive=True,
        )
        for name, version in (("n1", 3), ("n2", 2))
    ]
    found = checking._versions(coordinator_pb2.Cluster(nodes=nodes), pusher_pb2.GetPusherResponse(known_rule_version=3))
    assert [check.good for check in found] == [True, False]
    assert found[1].said.endswith("and the pusher 3: install one version on both (docs/upgrades.md)")


@pytest.mark.parametrize(
    ("there_s", "expected_s"), [(1_000.0, 0.0), (999.0, 0.0), (1_001.0, 0.5), (990.0, 9.0), (1_060.0, 59.5)]
)
def test_clocks_are_held_against_whole_seconds(there_s: float, expected_s: float) -> None:
    assert clock_difference_s(formatdate(there_s, usegmt=True), 1_000.0, 1_000.5) == expected_s


@pytest.mark.parametrize("date", ["", "soon", "Fri, 99 Nov 2026 00:00:00 GMT"])
def test_what_is_no_time_is_none(date: str) -> None:
    assert clock_difference_s(date, 0.0, 1.0) is None


# -- as it is typed


def test_where_nothing_answers_every_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FASTTREE_ENDPOINTS", raising=False)
    folder = laid_out(tmp_path / "datatrax", file_of(server_live="127.0.0.1", server_port_live="2"), HOSTS)
    words = ["datatrax", "check", str(folder), "--port", "50201", "--http", "127.0.0.1:3", "--timeout", "1"]
    ran = CliRunner().invoke(cli, [*words, "--json"], obj=Session())
    assert isinstance(ran.exception, CommandError)
    check_printed([*words, "--json"], ran.stdout)
    content = json.loads(ran.stdout)
    found = {each["what"]: each["said"] for each in content["checks"] if not each["good"]}
    assert str(ran.exception) == f"{len(found)} lines are wrong"
    assert content["good"] is False
    for what in ("report port 127.0.0.1:1", "instant port 127.0.0.1:50201", "VIP 127.0.0.1:2"):
        assert found[what].startswith("does not answer (")
    for what in ("coordinator address", "pusher address"):
        assert found[what].startswith("the endpoints file names no ")
    assert found["clock of datatrax"] == "can't be asked: the HTTP port 127.0.0.1:3 does not answer: Connection refused"
    assert found["service at http://127.0.0.1:3"] == "the HTTP port 127.0.0.1:3 does not answer: Connection refused"
    ran = CliRunner().invoke(cli, words, obj=Session())
    assert "WRONG VIP 127.0.0.1:2: does not answer (" in ran.stdout
    assert "ok    VIP 127.0.0.1:2: is no node" in ran.stdout
