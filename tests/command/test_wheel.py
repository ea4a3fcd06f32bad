"""The package as others install it: a wheel in an environment of its own, with no checkout beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What the wheel has, and where it stands in the repository.
FOLDERS = {
    "services/": "services/",
    "fasttree/v1/": "gen/fasttree/v1/",
    "fasttree/etcd/": "gen/fasttree/etcd/",
    "fasttree/client/": "client/fasttree/client/",
    "fasttree/command/local/deploy/": "deploy/",
    "fasttree/command/": "client/fasttree/command/",
}

_PROBE = """
import json, sys
from pathlib import Path
import fasttree.command, services
from fasttree.command.local.vip import render_envoy, render_haproxy
print(json.dumps({
    "files": [fasttree.command.__file__, services.__file__],
    "envoy": "ftsp01" in render_envoy(["ftsp01:50100"], 50100, Path("admin.sock")),
    "haproxy": "ftsp01" in render_haproxy([("ftsp01:50100", "ftsp01:50200")], 50100),
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True, timeout=170)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    folder = wheel.parent / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, *words: str) -> str:
    """Elsewhere, with what was installed before all else."""
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed)},
        timeout=120,
    ).stdout


def test_it_has_every_file_that_the_repository_has(wheel: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "services", "client/fasttree", "gen/fasttree", "deploy/envoy", "deploy/haproxy"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.split()
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = set()
    for path in listed:
        inside, outside = next((inside, outside) for inside, outside in FOLDERS.items() if path.startswith(outside))
        expected.add(inside + path.removeprefix(outside))
    assert expected <= packed
    assert {name for name in packed - expected if name.endswith(".py")} == set()


def test_the_command_and_the_services_run_from_it(installed: Path) -> None:
    probed = json.loads(run(installed, "-c", _PROBE))
    assert all(path.startswith(f"{installed}/") for path in probed["files"])
    assert probed["envoy"]
    assert probed["haproxy"]
    assert run(installed, "-m", "fasttree.command", "config", "check").count(": good; ") == 1
    for service in ("coordinator", "pusher", "treenode"):
        assert "--config" in run(installed, "-m", f"services.{service}", "--help")
