"""The program that runs a whole cluster, where none runs; `real/` has those that do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.kubernetes.cluster", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"FASTTREE_KUBERNETES_HOME": str(home)},
    )


def test_what_was_said_stays_and_all_else_goes(tmp_path: Path) -> None:
    for name in ("logs/etcd.log", "node1/containerd/layer", "etcd/member", "start.log"):
        file = tmp_path / "run" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    assert run(tmp_path, "stop").returncode == 0
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"run/logs/etcd.log", "run/start.log"}


def test_a_number_that_is_anothers_by_now_is_not_ended(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "run" / "pid").write_text(str(stranger.pid))
        assert run(tmp_path, "stop").returncode == 0
        assert stranger.poll() is None
        stranger.kill()


def test_whoever_runs_a_command_and_is_asked_to_end_ends_both(tmp_path: Path) -> None:
    program = f"""
import pathlib, sys
from tests.kubernetes.cluster import __main__ as cluster
cluster.start = lambda nodes, images: None
cluster.stop = pathlib.Path({str(tmp_path / "stopped")!r}).touch
cluster.command_inside = lambda command: command
sys.argv = ["cluster", "run", "--", "sh", "-c", "echo $$; exec sleep 600"]
sys.exit(cluster.main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        command = int(running.stdout.readline())
        running.terminate()
        assert running.wait() == 128 + signal.SIGTERM
    assert (tmp_path / "stopped").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(command, 0)


def test_nothing_runs_inside_of_no_cluster(tmp_path: Path) -> None:
    ran = run(tmp_path, "exec", "true")
    assert ran.returncode == 1
    assert ran.stderr == "error: no cluster runs: python -m tests.kubernetes.cluster start\n"
