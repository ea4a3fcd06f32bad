"""Grafana's dashboards are those of the tool; each expression is one, of figures that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.docs.test_alert_rules import promtool
from tests.docs.test_operators_files import figures
from tools.dashboards.__main__ import FOLDER, made_dashboards

#: What all services have by OpenTelemetry's names.
BY_CONVENTION = {"rpc_server_call_duration_seconds_count", "rpc_server_call_duration_seconds_bucket"}


def expressions() -> dict[str, str]:
    """Each with its panel."""
    found: dict[str, str] = {}
    for text in made_dashboards().values():
        for panel in json.loads(text)["panels"]:
            found.update({target["expr"]: panel["title"] for target in panel["targets"]})
    return found


def test_the_files_are_fresh() -> None:
    made = made_dashboards()
    assert set(FOLDER.glob("*")) == set(made)
    for path, text in made.items():
        assert path.read_text() == text, "run: python -m tools.dashboards"


def test_each_expression_names_figures_that_there_are() -> None:
    known = set(figures()) | BY_CONVENTION
    known |= {name + end for name in set(known) for end in ("_bucket", "_count")}
    for expression, title in expressions().items():
        named = set(re.findall(r"\b(?:fasttree|rpc_server)_[a-z_]+", expression))
        assert named, title
        assert named <= known, title


def test_each_expression_is_one(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(expressions())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert len(rules) > 50
    promtool("check", "rules", str(file))
