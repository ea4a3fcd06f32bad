"""What becomes of the command where its output goes nowhere, and where it is ended before it has begun."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fasttree.command.log.push import Count
from fasttree.v1 import pusher_pb2, types_pb2


def shell(redirected: str) -> subprocess.CompletedProcess[str]:
    command = f'exec "{sys.executable}" -m fasttree.command {redirected}'
    return subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", ["--help", "completion bash", "config show --config cluster.toml"])
def test_a_full_disk_is_one_line(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cluster.toml").touch()
    monkeypatch.chdir(tmp_path)
    ran = shell(f"{words} > /dev/full")
    assert (ran.returncode, ran.stderr) == (
        1,
        "error: what is printed can't be written: No space left on device\n",
    )


def test_closed_streams_end_nothing_with_a_crash() -> None:
    closed = shell("--version >&-")
    assert (closed.returncode, closed.stderr) == (1, "error: standard output is closed: nothing was done\n")
    assert shell("--version >&- 2>&-").returncode == 1
    quiet = shell("--version 2>&- <&-")
    assert (quiet.returncode, quiet.stdout.startswith("fasttree ")) == (0, True)


@pytest.mark.parametrize(
    ("program", "handler"), [("/usr/bin/fasttree", "0"), ("/usr/bin/pytest", "default_int_handler")]
)
def test_ctrl_c_before_the_command_has_begun_has_no_traceback(program: str, handler: str) -> None:
    """And whoever imports the command for something else keeps what is set."""
    script = f"import sys, signal; sys.argv = [{program!r}]; import fasttree.command; print(signal.getsignal(2))"
    # A shell that starts this in the background would have it ignored.
    ran = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert handler in ran.stdout


def test_who_has_updates_without_effect_is_told_where_to_look() -> None:
    count = Count()
    for position, outcome in enumerate([types_pb2.OUTCOME_APPLIED, types_pb2.OUTCOME_REJECTED, types_pb2.OUTCOME_HELD]):
        assert len(count.where_to_look()) == max(position - 1, 0)
        count.add(pusher_pb2.Receipt(position=position + 1, outcome=outcome))
    rejected, held = count.where_to_look()
    assert rejected.startswith("`fasttree rejected` says why")
    assert held.startswith("`fasttree held` lists")
