"""The doctor's bounds are those of the alert rules, and each has its mend in the runbook."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import yaml

from fasttree.client.status.cluster import ClusterJson
from fasttree.client.status.problems import CERTIFICATE_OVER_S, CERTIFICATE_SOON_S, problems_of
from fasttree.command.doctor.alarms import ALARMS, Alarm, ringing, versions_of
from fasttree.command.doctor.mends import mend_of

RULES = Path(__file__).parents[3] / "deploy" / "alerts" / "fasttree.rules.yml"
_SIMPLE = re.compile(r"(fasttree_\w+) (<|>|==) ([\d.e]+)")
#: What `fasttree status` tells, and the nodes, by their own answers; and the day's warning of what a week's is of.
_TOLD_BY_STATUS = {
    "FastTreeNoPrimary",
    "FastTreeElectionsPaused",
    "FastTreeDrillNotUndone",
    "FastTreePushesRefused",
    "FastTreePusherUnfit",
    "FastTreeLogDamaged",
    "FastTreeLogRefused",
    "FastTreeImportRefused",
    "FastTreeNodesDiffer",
    "FastTreeImportUnknown",
    "FastTreeNodeHalted",
    "FastTreeNodeNotReady",
    "FastTreeNodeLags",
    "FastTreeAuditNotWritten",
    "FastTreeKeysUnusable",
    "FastTreeSecurityFilesUnusable",
    "FastTreeCertificateSoonOver",
    "FastTreeCertificateOver",
}


def rules() -> dict[str, str]:
    """Each alert's expression."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def test_each_alarm_is_a_rule_and_each_simple_rule_is_told() -> None:
    simple: set[tuple[str, str, float, str]] = set()
    for alert, expression in rules().items():
        for part in expression.split(" or "):
            if (found := _SIMPLE.fullmatch(part)) is not None:
                simple.add((found[1], found[2], float(found[3]), alert))
    own = {(alarm.figure, alarm.relation, alarm.bound, alarm.alert) for alarm in ALARMS}
    assert own <= simple
    assert {each[3] for each in simple - own} == _TOLD_BY_STATUS


def test_certificates_are_judged_as_the_rules_do() -> None:
    for alert, bound_s in (
        ("FastTreeCertificateSoonOver", CERTIFICATE_SOON_S),
        ("FastTreeCertificateOver", CERTIFICATE_OVER_S),
    ):
        assert {_SIMPLE.fullmatch(part)[3] for part in rules()[alert].split(" or ")} == {f"{bound_s:.0f}"}  # type: ignore[index]


def _in_days(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm.figure)
def test_a_figure_beyond_its_bound_rings_and_has_a_mend(alarm: Alarm) -> None:
    beyond = {"<": alarm.bound - 1, ">": alarm.bound + 1, "==": alarm.bound}[alarm.relation]
    at_rest = {"<": alarm.bound, ">": alarm.bound, "==": alarm.bound - 1}[alarm.relation]
    assert list(ringing(f'{alarm.figure}{{node="n1"}} {at_rest}\n')) == []
    assert list(ringing(f'{alarm.figure}{{node="n1"}} {beyond}\n')) == [(alarm, beyond)]
    assert alarm.told(beyond)
    mend = mend_of(alarm.alert)
    assert mend != f"docs/alerts.md, {alarm.alert}"
    assert "](" not in mend


def test_every_alert_that_status_names_has_a_mend() -> None:
    status = {
        "differences": [{"nodes": ["n1"], "others": [], "import_id": 1, "position": 2}],
        "nodes": [{"node": "n1", "state": "silent", "silent_ms": 5_000, "lag": 20_000, "connected": True, "note": ""}],
        "audit": [{"part": "pusher", "problem": "its disk is full"}],
        "sealing": [{"part": "n1", "problem": "there is no such file"}],
        "security": [{"part": "pusher", "problem": "policy.json: is no policy"}],
        "certificates": [
            {"part": "pusher", "expires": "2020-01-01T00:00:00Z"},
            {"part": "n1", "expires": _in_days(3)},
            {"part": "n2", "expires": _in_days(30)},
        ],
        "pushers": [{"pusher": "p1", "state": "unfit", "note": "the log was moved"}],
        "log": {"damage": "record 3", "closed": "another log"},
        "primary": "",
        "note": "",
        "paused": True,
        "imports": [{"import_id": 1, "state": "refused", "nodes": []}],
    }
    found = problems_of(cast("ClusterJson", status))
    assert len(found) == 14
    assert [problem.alert for problem in found if mend_of(problem.alert).startswith("docs/alerts.md,")] == []


def test_the_version_that_a_service_runs_is_read() -> None:
    page = 'fasttree_node_build{cluster="dot",node="n1",version="0.2.0"} 1.0\nfasttree_node_ready 1\n'
    assert versions_of(page) == {"0.2.0"}
    assert versions_of("fasttree_node_ready 1\n") == set()
