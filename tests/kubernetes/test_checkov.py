"""What of checkov's findings stays is what has a reason."""

from __future__ import annotations

import json

from tests.kubernetes.checkov import ACCEPTED, Finding, accepted_by, findings


def test_a_finding_stays_where_its_resource_has_a_reason() -> None:
    pusher = Finding("CKV_K8S_38", "tokens", "StatefulSet.fasttree.fasttree-pusher")
    assert list(accepted_by(pusher)) == [("CKV_K8S_38", pusher.resource)]
    assert not list(accepted_by(pusher._replace(resource="StatefulSet.fasttree.fasttree-treenode")))
    assert not list(accepted_by(pusher._replace(check="CKV_K8S_39")))
    assert all(reason for reason in ACCEPTED.values())


def test_its_report_is_read_whole() -> None:
    failed = {"check_id": "CKV_K8S_11", "check_name": "CPU limits should be set", "resource": "Job.fasttree.x"}
    report = {"summary": {"resource_count": 1, "parsing_errors": 0}, "results": {"failed_checks": [failed]}}
    assert list(findings(json.dumps(report))) == [Finding("CKV_K8S_11", "CPU limits should be set", "Job.fasttree.x")]
    assert list(findings(json.dumps([report, report])))[1].resource == "Job.fasttree.x"
