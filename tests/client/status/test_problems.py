"""What is wrong with a cluster, worst first, each with an alert that the runbook has."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fasttree.client.endpoints import NodeEndpoint
from fasttree.client.status.cluster import status_json
from fasttree.client.status.nodes import name_nodes
from fasttree.client.status.problems import problems_of
from fasttree.v1 import coordinator_pb2, pusher_pb2

ACTIVE, UNFIT = coordinator_pb2.PUSHER_STATE_ACTIVE, coordinator_pb2.PUSHER_STATE_UNFIT
ROOT = Path(__file__).parents[3]
ALERTS = set(re.findall(r"^\| (FastTree\w+) \|", (ROOT / "docs/alerts.md").read_text(), re.MULTILINE))


def view() -> coordinator_pb2.Cluster:
    cluster = coordinator_pb2.Cluster(name="dot", epoch=1, primary="n1")
    for name, state in (("n1", coordinator_pb2.NODE_STATE_PRIMARY), ("n2", coordinator_pb2.NODE_STATE_PASSIVE)):
        cluster.nodes.add(
            address=coordinator_pb2.NodeAddress(name=name),
            status=coordinator_pb2.NodeStatus(state=state, position=7),
            alive=True,
        )
    return cluster


def pusher() -> pusher_pb2.GetPusherResponse:
    answer = pusher_pb2.GetPusherResponse(log_id="a")
    answer.log_end.position = 7
    for name in ("n1", "n2"):
        answer.nodes.add(node=name, connected=True, applied_position=7)
    return answer


def found(**changes: Any) -> list[tuple[str, bool]]:
    cluster, answer = view(), pusher()
    for name, change in changes.items():
        change(cluster if name == "cluster" else answer)
    problems = problems_of(status_json(cluster, answer))
    assert {problem.alert for problem in problems} <= ALERTS
    assert [problem.fault for problem in problems] == sorted((problem.fault for problem in problems), reverse=True)
    return [(problem.alert.removeprefix("FastTree"), problem.fault) for problem in problems]


def test_nothing_is_wrong_where_all_is_well() -> None:
    assert found() == []


def _silent(cluster: Any) -> None:
    cluster.nodes[1].alive, cluster.nodes[1].silent_ms = False, 4_000


def _halted(cluster: Any) -> None:
    cluster.nodes[1].status.halted_before, cluster.nodes[1].status.halt_reason = 5, "the engine failed"


def _unfit(*others: coordinator_pb2.PusherState.ValueType) -> Any:
    def change(cluster: Any) -> None:
        for number, state in enumerate((UNFIT, *others), 1):
            status = coordinator_pb2.PusherStatus(state=state, note="the log was moved" if state != ACTIVE else "")
            cluster.pushers.add(name=f"p{number}", status=status, alive=True)

    return change


def _cut_off(answer: Any) -> None:
    answer.nodes[1].connected, answer.nodes[1].note = False, "no connection"


def _refused(answer: Any) -> None:
    answer.imports.add(state=pusher_pb2.IMPORT_STATE_REFUSED)


def _behind(answer: Any) -> None:
    answer.log_end.position = 100_000


def _not_written(one: Any) -> None:
    one.audit_problem = "operators' calls to it are refused: No space left on device"


def _without_keys(one: Any) -> None:
    one.sealing_problem = "sealing.key_file = state.keys: there is no such file"


def _by_files_of_before(one: Any) -> None:
    one.security_problem = "policy.json: is no policy; the policy of before goes on"


def _silent_node_not_written(cluster: Any) -> None:
    _silent(cluster)
    _not_written(cluster.nodes[1].status)


def _good_for(one: Any, **left: float) -> None:
    one.certificate_expires.FromDatetime(datetime.now(UTC) + timedelta(**left))


@pytest.mark.parametrize(
    ("changes", "alerts"),
    [
        ({"cluster": lambda one: _good_for(one, days=8), "answer": lambda one: _good_for(one, days=30)}, []),
        ({"cluster": lambda one: _good_for(one.nodes[1].status, days=6)}, [("CertificateSoonOver", False)]),
        (
            {"cluster": lambda one: _good_for(one, hours=-1), "answer": lambda one: _good_for(one, hours=23)},
            [("CertificateOver", True), ("CertificateOver", True)],
        ),
        ({"cluster": lambda one: setattr(one, "note", "cannot write its state: full")}, [("DiskAlmostFull", False)]),
        ({"cluster": _silent}, [("ServiceDown", False), ("NodeNotReady", False)]),
        ({"cluster": _halted}, [("NodeHalted", False)]),
        ({"cluster": lambda one: setattr(one, "primary", "")}, [("NoPrimary", False)]),
        ({"cluster": lambda one: setattr(one, "paused", True)}, [("ElectionsPaused", False)]),
        ({"answer": _cut_off}, [("AnswersOld", False)]),
        ({"answer": _behind}, [("NodeLags", False), ("NodeLags", False)]),
        ({"answer": _refused}, [("NodeNotReady", False)]),
        ({"answer": lambda one: setattr(one, "log_damage", "record 3")}, [("LogDamaged", True)]),
        ({"answer": lambda one: setattr(one, "closed_reason", "full")}, [("PushesRefused", True)]),
        ({"cluster": _unfit(UNFIT)}, [("PusherUnfit", True)]),
        ({"cluster": _unfit(ACTIVE)}, [("PusherUnfit", False)]),
        ({"answer": _not_written, "cluster": _not_written}, [("AuditNotWritten", True), ("AuditNotWritten", True)]),
        ({"cluster": lambda one: _not_written(one.nodes[1].status)}, [("AuditNotWritten", True)]),
        (
            {"answer": _without_keys, "cluster": lambda one: _without_keys(one.nodes[1].status)},
            [("KeysUnusable", True), ("KeysUnusable", True)],
        ),
        (
            {"answer": _by_files_of_before, "cluster": _by_files_of_before},
            [("SecurityFilesUnusable", True), ("SecurityFilesUnusable", True)],
        ),
        ({"cluster": _silent_node_not_written}, [("ServiceDown", False), ("NodeNotReady", False)]),
        (
            {"answer": lambda one: one.differences.add(nodes=["n1"], others=["n2"]), "cluster": _silent},
            [("NodesDiffer", True), ("ServiceDown", False), ("NodeNotReady", False)],
        ),
    ],
)
def test_each_problem_leads_to_its_alert(changes: dict[str, Any], alerts: list[tuple[str, bool]]) -> None:
    assert found(**changes) == alerts


def test_a_cluster_that_nobody_tells_of_has_no_problems_of_its_own() -> None:
    """That nobody answers is told by who asked."""
    assert problems_of(status_json(None, None)) == []


def test_a_node_that_only_the_pusher_knows_has_its_name_from_the_endpoints() -> None:
    """A coordinator whose turn has just begun has heard nothing of a node that died before."""
    cluster, answer = view(), pusher()
    for address in ("127.0.0.1:3", "127.0.0.1:4", "127.0.0.1:5"):
        answer.nodes.add(node=address, instant_address=address)
    nodes = status_json(cluster, answer)["nodes"]
    listed = {"n3": "127.0.0.1:3", "n2": "127.0.0.1:4"}  # n2 is another one by now
    name_nodes(nodes, [NodeEndpoint(name=name, instant=instant) for name, instant in listed.items()])
    assert [node["node"] for node in nodes] == ["n1", "n2", "n3", "127.0.0.1:4", "127.0.0.1:5"]
