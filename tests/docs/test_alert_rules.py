"""Each alert fires where it should and only there: by Prometheus' own `promtool test rules`, looking every five
minutes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

RULES = Path(__file__).parents[2] / "deploy/alerts/fasttree.rules.yml"
ALERTS = re.findall(r"- alert: (\w+)", RULES.read_text())
DAY_MIN = 1440


def promtool(*arguments: str, text: str | None = None) -> None:
    """Runs it; its complaint is the test's."""
    program = shutil.which("promtool")
    assert program, "promtool is missing: `apt-get install prometheus` brings it"
    done = subprocess.run([program, *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Case(NamedTuple):
    """A series' values, a minute each in promtool's short form; and how many alerts there are at that minute."""

    series: dict[str, str]
    minute: int
    fires: int = 1


def one(series: str, bad: str, good: str, minute: int = 30) -> list[Case]:
    """The two sides of one figure."""
    return [Case({series: bad}, minute), Case({series: good}, minute, 0)]


def above(name: str, bad: str, good: str, minute: int = 30) -> list[Case]:
    return one(f'{name}{{instance="n1"}}', bad, good, minute)


NODE = '{instance="n1",node="n1",job="fasttree-nodes"}'
FAILED, CALLED = (
    f'fasttree_node_call_seconds_count{{job="j",instance="n1",call="A",code="{c}"}}' for c in ("INTERNAL", "OK")
)
EXPIRES = "fasttree_node_certificate_expires_in_seconds"
FREE = "fasttree_node_disk_free_bytes"

CASES: dict[str, list[Case]] = {
    "FastTreeServiceDown": [
        *one('up{job="fasttree-nodes",instance="n1"}', "0x40", "1x40"),
        Case({'up{job="other",instance="n1"}': "0x40"}, 30, 0),
    ],
    "FastTreeNoPrimary": above("fasttree_coordinator_has_primary", "0x40", "1x40"),
    "FastTreeOneNodeLeft": [
        Case({**{f'fasttree_coordinator_node_alive{{instance="c",node="n{n}"}}': f"{alive}x40" for n, alive in nodes},
              'fasttree_coordinator_active{instance="c"}': "1x40"}, 30, fires)
        for nodes, fires in (([(1, 1), (2, 0)], 1), ([(1, 0), (2, 0)], 1), ([(1, 1), (2, 1)], 0), ([(1, 1)], 0))
    ],
    "FastTreeElectionsPaused": above("fasttree_coordinator_paused", "1x90", "1x20 0x70", 80),
    "FastTreeDrillNotUndone": above("fasttree_console_drill_not_undone", "1x40", "0x40"),
    "FastTreeManyElections": above("fasttree_coordinator_elections_total", "0+1x40", "0x10 1x30"),
    "FastTreeNameTakenTwice": above("fasttree_coordinator_refusals_total", "0+1x40", "3x40"),
    "FastTreeCoordinatorCannotWrite": above("fasttree_coordinator_write_failures_total", "0+1x40", "3x40"),
    "FastTreeLeaseMarginThin": [
        Case({f"fasttree_node_lease_left_seconds{NODE}": value, f"fasttree_node_epoch{NODE}": f"{epoch}x40"}, 30, fires)
        for value, epoch, fires in (("0.1x40", 3, 1), ("-2x40", 3, 1), ("0.6x40", 3, 0), ("0x40", 0, 0))
    ],
    "FastTreePushesRefused": above("fasttree_pusher_closed", "1x40", "0x40"),
    "FastTreePusherUnfit": above("fasttree_pusher_unfit", "1x40", "0x40"),
    "FastTreeLogDamaged": above("fasttree_pusher_log_damaged_records", "1x40", "0x40"),
    "FastTreeImportStoreUnfit": above("fasttree_pusher_import_store_unfit", "1x40", "0x40"),
    "FastTreeImportRefused": above("fasttree_pusher_import_refused", "1x40", "0x40"),
    "FastTreeLogRefused": above("fasttree_node_pusher_refused", "1x40", "0x40"),
    "FastTreeNodesDiffer": above("fasttree_pusher_node_differs", "1x40", "0x40"),
    "FastTreeImportUnknown": above("fasttree_pusher_node_import_unknown", "1x40", "0x40"),
    "FastTreeNodeHalted": above("fasttree_node_halted_before", "17x40", "0x40"),
    "FastTreeNodeNotReady": above("fasttree_node_ready", "0x40", "0x25 1x20"),
    "FastTreeNodeLags": above("fasttree_node_lag_updates", "20000x40", "500x40"),
    "FastTreeNodeLagsLong": above("fasttree_node_lag_seconds", "45x40", "2x40"),
    "FastTreeNodeStuck": [
        Case({f"fasttree_node_lag_updates{NODE}": lag, f"fasttree_node_position{NODE}": position}, 30, fires)
        for lag, position, fires in (("5x40", "100x40", 1), ("5x40", "100+1x40", 0), ("0x40", "100x40", 0))
    ],
    "FastTreeAnswersOld": [
        Case({f"fasttree_node_fresh_timestamp_seconds{NODE}": fresh, f"fasttree_node_ready{NODE}": ready}, 30, fires)
        for fresh, ready, fires in (("60x40", "1x40", 1), ("0+60x40", "1x40", 0), ("60x40", "0x40", 0))
    ],
    "FastTreeLoopHeld": above("fasttree_node_loop_delay_seconds", "0.7x40", "0.1x40"),
    "FastTreeReportsSlow": [
        Case({f'fasttree_node_call_seconds_bucket{{instance="n1",call="GetMember",code="OK",le="{le}"}}': f"0+{n}x40"
              for le, n in (("0.1", fast), ("0.5", 100), ("+Inf", 100))}, 30, fires)
        for fast, fires in ((90, 1), (100, 0))
    ],
    "FastTreeCallsFail": one(FAILED, "0+60x40", "0+1x40"),
    "FastTreeErrorBudgetBurns": [
        Case({FAILED: f"0+{failed}x90", CALLED: "0+1000x90"}, 80, fires) for failed, fires in ((30, 1), (1, 0))
    ] + [Case({FAILED: "0+30x70 2100x30", CALLED: "0+1000x100"}, 95, 0)],
    "FastTreeErrorBudgetWears": [
        Case({FAILED: f"0+{failed}x400", CALLED: "0+1000x400"}, 390, fires) for failed, fires in ((8, 1), (1, 0))
    ],
    "FastTreeConnectionsRefused": one(
        'fasttree_node_connections_ended_total{instance="n1",port="report",reason="full"}', "0+1x40", "5x40"
    ),
    "FastTreeDiskAlmostFull": [
        *above("fasttree_pusher_disk_free_bytes", "4e9x40", "6e9x40"),
        *above("fasttree_coordinator_disk_free_bytes", "9e8x40", "2e9x40"),
    ],
    "FastTreeDiskSoonFull": [
        case
        for name in ("fasttree_pusher_disk_free_bytes", FREE, "fasttree_coordinator_disk_free_bytes")
        for case in above(name, "100e9-1e8x420", "100e9-1e6x420", 410)
    ],
    "FastTreeCertificateSoonOver": above(EXPIRES, "500000x40", "700000x40"),
    "FastTreeCertificateOver": above(EXPIRES, "50000x40", "500000x40"),
    "FastTreeAuditNotWritten": above("fasttree_node_audit_not_written", "1x40", "0x40"),
    "FastTreeKeysUnusable": above("fasttree_node_sealing_keys_unusable", "1x40", "0x40"),
    "FastTreeSecurityFilesUnusable": above("fasttree_pusher_security_files_unusable", "1x40", "0x40"),
    "FastTreeReportsWait": above("fasttree_node_report_copies_waiting", "40x40", "3x40"),
    "FastTreePeriodNotKept": above("fasttree_node_periods_missing", "1x40", "1x10 0x30"),
    "FastTreeUpdatesRejected": above("fasttree_node_rejected_updates", "0x20 1x40", "1x70", 50),
    "FastTreeUpdatesHeldLong": above(
        "fasttree_node_held_updates", f"1x{DAY_MIN + 20}", f"1x700 0 1x{DAY_MIN}", DAY_MIN + 10
    ),
}  # fmt: skip


def test_every_alert_has_its_cases() -> None:
    assert list(CASES) == ALERTS
    for cases in CASES.values():
        assert {case.fires > 0 for case in cases} == {True, False}


def test_rules_are_rules() -> None:
    promtool("check", "rules", str(RULES))


def test_each_rule_says_what_it_is_and_where_its_runbook_is() -> None:
    text, page = RULES.read_text(), (RULES.parents[2] / "docs/alerts.md").read_text()
    assert len(re.findall(r"^          summary: ", text, re.MULTILINE)) == len(ALERTS)
    links = re.findall(r'runbook_url: "docs/alerts.md#:~:text=(\w+)"', text)
    assert links == ALERTS
    assert all(f"| {link} |" in page for link in links)


def test_each_fires_where_it_should_and_only_there(tmp_path: Path) -> None:
    tests = [
        {
            "name": f"{alert} {number}",
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
            # A label that each series has or not says that it fires; which labels there are, the rule's text says.
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
                    "eval_time": f"{case.minute}m",
                    "exp_samples": [{"labels": "{}", "value": case.fires}],
                }
            ],
        }
        for alert, cases in CASES.items()
        for number, case in enumerate(cases, 1)
    ]
    file = tmp_path / "rules.test.yml"
    # JSON is YAML.
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "5m", "tests": tests}))
    promtool("test", "rules", str(file))


@pytest.mark.parametrize("name", ["promtool", "prometheus"])
def test_the_makefile_asks_for_it(name: str) -> None:
    assert f"{name}=prometheus" in (RULES.parents[2] / "Makefile").read_text()
