"""As many threads as a process may use processors, whatever the machine has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.shared.processors import at_most_processors, count_processors, processors


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".", 1)).write_text(content)


def count(tmp_path: Path, own: str, affinity: int = 16) -> int:
    (tmp_path / "own").write_text(own)
    return count_processors(affinity, tmp_path / "groups", tmp_path / "own")


@pytest.mark.parametrize(
    ("quota", "counted"),
    [
        ("max 100000", 16),
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("150000 100000", 2),
        ("3200000 100000", 16),
        ("1000 100000", 1),
        ("", 16),
        ("0 0", 16),
        ("nonsense", 16),
    ],
)
def test_a_quota_of_the_own_group(quota: str, counted: int, tmp_path: Path) -> None:
    group(tmp_path / "groups" / "system.slice" / "node.service", cpu_max=quota)
    assert count(tmp_path, "0::/system.slice/node.service\n") == counted


def test_a_quota_of_a_group_above_binds_too(tmp_path: Path) -> None:
    group(tmp_path / "groups" / "a" / "b", cpu_max="max 100000")
    group(tmp_path / "groups" / "a", cpu_max="200000 100000")
    assert count(tmp_path, "0::/a/b\n") == 2


def test_a_container_shows_its_group_as_the_root(tmp_path: Path) -> None:
    group(tmp_path / "groups", cpu_max="300000 100000")
    assert count(tmp_path, "0::/\n") == 3
    assert count(tmp_path, "0::/../../elsewhere\n") == 3


@pytest.mark.parametrize("folder", ["cpu,cpuacct", "cpu"])
def test_groups_of_the_first_kind(folder: str, tmp_path: Path) -> None:
    docker = tmp_path / "groups" / folder / "docker"
    group(docker / "x", cpu_cfs_quota_us="250000", cpu_cfs_period_us="100000")
    group(docker, cpu_cfs_quota_us="-1", cpu_cfs_period_us="100000")
    assert count(tmp_path, "4:memory:/x\n3:cpu,cpuacct:/docker/x\n0::/\n") == 3


def test_no_groups_and_few_processors(tmp_path: Path) -> None:
    assert count(tmp_path, "", affinity=4) == 4
    assert count(tmp_path, "garbage\n:::\n", affinity=4) == 4
    assert count_processors(4, tmp_path / "groups", tmp_path / "nothing") == 4


_HELD = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from services.shared.processors import at_most_processors, processors
print(processors(), at_most_processors(8))
"""


def test_a_process_that_is_held_to_one_processor_has_one_thread() -> None:
    ran = subprocess.run([sys.executable, "-c", _HELD], capture_output=True, text=True, check=True)
    assert ran.stdout == "1 1\n"
    assert 1 <= processors() <= len(os.sched_getaffinity(0))
    assert at_most_processors(1) == 1


@pytest.mark.parametrize("folder", ["services", "client", "bench", "tools", "tests/simulator"])
def test_nobody_counts_the_machines_processors(folder: str) -> None:
    root = Path(__file__).parents[2] / folder
    named = [str(path) for path in root.rglob("*.py") if "os.cpu_count" in path.read_text()]
    assert named == []
