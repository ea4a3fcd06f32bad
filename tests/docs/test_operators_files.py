"""What operators copy and follow: alert rules name figures that there are, and are explained; links lead somewhere."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

from fasttree.command.settings.reading import SECTION_CLASSES, faults_of
from services.coordinator.settings import CoordinatorSettings
from services.pusher.settings import PusherSettings
from services.shared.config.load import load_settings
from services.shared.config.sections import ClusterSettings, fields_of
from services.shared.serving.process import service_command

ROOT = Path(__file__).parents[2]
RULES = (ROOT / "deploy/alerts/fasttree.rules.yml").read_text()
ALERTS = (ROOT / "docs/alerts.md").read_text()
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
_PREFIXES = {
    "console": "fasttree_console_",
    "coordinator": "fasttree_coordinator_",
    "pusher": "fasttree_pusher_",
    "treenode": "fasttree_node_",
}
#: What every service has beside its own.
_COMMON = (
    "call_seconds_bucket",
    "call_seconds_count",
    "connections_ended_total",
    "connections_open",
    "calls_open",
    "memory_bytes",
    "build",
    "processor_seconds_total",
    "disk_free_bytes",
    "certificate_expires_in_seconds",
    "audit_not_written",
    "sealing_keys_unusable",
    "security_files_unusable",
    "event_loop_delay_seconds",
    "gc_pause_seconds_total",
    "gc_pause_longest_seconds",
    "spans_total",
)
_SUFFIXES = {
    "counter": "_total",
    "counter_by": "_total",
    "gauge": "",
    "gauge_by": "",
    "histogram_s": "",
    "histogram": "",
}


def figures() -> Iterator[str]:
    """Every figure of every service, as Prometheus has it."""
    for service, prefix in _PREFIXES.items():
        yield from (f"{prefix}{name}" for name in _COMMON)
        for path in (ROOT / "services" / service).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _SUFFIXES:
                    words = [str(each.value) for each in node.args if isinstance(each, ast.Constant)]
                    name = words[1 if node.func.attr.endswith("_by") else 0]
                    yield f"{prefix}{name}{_SUFFIXES[node.func.attr]}"


def anchors(page: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_alert_rules_name_figures_that_there_are() -> None:
    named = set(re.findall(r"fasttree_[a-z_]+", RULES))
    assert len(named) > 10
    assert named <= set(figures())


def test_every_alert_is_explained_once() -> None:
    rules = re.findall(r"- alert: (\w+)", RULES)
    explained = re.findall(r"^\| (FastTree\w+) \|", ALERTS, re.MULTILINE)
    assert explained == rules
    assert len(set(rules)) == len(rules)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_links_of_the_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        if "://" in name:
            continue
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_start_services_with_settings_that_there_are(unit: Path) -> None:
    parsed = ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(unit.read_text())
    service = parsed["Service"]
    python, safe_path, option, module, *arguments = shlex.split(service["ExecStart"])
    name = module.removeprefix("services.")
    assert (Path(python).name, safe_path, option) == ("python", "-P", "-m")
    assert (ROOT / "services" / name / "__main__.py").exists()
    assert (service["UMask"], service["Restart"]) == ("0077", "always")
    given = service_command(name, lambda config, overrides: None).make_context(name, arguments).params
    assert given["config"] == Path("/etc/fasttree/cluster.toml")
    for assignment in given["assignments"]:
        section, _, field = assignment.partition("=")[0].partition(".")
        assert field in fields_of(SECTION_CLASSES[section])
    assert f"/{service['StateDirectory']}" in given["assignments"][0]


def test_the_settings_file_beside_them_is_good(tmp_path: Path) -> None:
    text = (ROOT / "deploy/systemd/cluster.toml").read_text()
    hosts = tmp_path / "hosts"
    hosts.write_text("ftsp01.example.com 50100 50201\n")
    file = tmp_path / "cluster.toml"
    file.write_text(text.replace("/etc/fasttree/hosts.50201", str(hosts)))
    assert len(UNITS) == 3
    assert faults_of(file, ()) == []


def test_the_settings_of_several_coordinators_and_pushers_are_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they stand on the page: one file, and each machine's environment."""
    page = (ROOT / "docs/operations.md").read_text()
    part = page.partition("\n### Settings of several coordinators and pushers\n")[2].partition("\n### ")[0]
    toml, environment = re.findall(r"```(?:toml|sh)\n(.*?)```", part, re.DOTALL)
    file = tmp_path / "cluster.toml"
    file.write_text(toml)
    assert [fault for fault in faults_of(file, (), elsewhere=True) if "coordinator.advertise" not in fault] == []
    places: dict[str, set[str]] = {"coordinator": set(), "pusher": set()}
    for machine in ("dtx01", "dtx02", "dtx03"):
        for line in environment.replace("dtx01", machine).splitlines():
            monkeypatch.setenv(*line.split("=", 1))
        assert faults_of(file, (), elsewhere=True) == []
        coordinator = load_settings(CoordinatorSettings, "coordinator", file, {})
        pusher = load_settings(PusherSettings, "pusher", file, {})
        assert (coordinator.store, pusher.log.log_store, pusher.turns.takes_turns) == ("postgresql", "postgresql", True)
        places["coordinator"].add(coordinator.told_address)
        places["pusher"].add(pusher.own_address)
    cluster = load_settings(ClusterSettings, "cluster", file, {})
    assert places["coordinator"] == set(cluster.coordinator.split(","))
    assert ",".join(sorted(places["pusher"])) in part
