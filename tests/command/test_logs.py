"""`fasttree logs`: the ends of the local processes' logs, and what comes after."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fasttree.command.local.logs import _Tail
from fasttree.command.main import cli
from fasttree.command.session import CommandError, Session


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    logs = tmp_path / ".fasttree" / "logs"
    logs.mkdir(parents=True)
    (logs / "n1.log").write_text("".join(f"line {number}\n" for number in range(100)))
    (logs / "pusher.log").write_text("a\x1b[31m\nhalf a li")
    return logs


def run(*words: str) -> tuple[list[str], str]:
    ran = CliRunner().invoke(cli, ["logs", *words], obj=Session())
    assert ran.exception is None or isinstance(ran.exception, CommandError), ran.exception
    return ran.stdout.splitlines(), str(ran.exception or "")


def test_the_last_lines_of_all_or_of_one(folder: Path) -> None:
    assert run("-n", "2")[0] == ["n1      line 98", "n1      line 99", "pusher  a\\x1b[31m"]
    assert run("n1", "-n", "1")[0] == ["line 99"]
    assert run("n1", "-n", "0")[0] == []


def test_what_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    assert run("n7")[1] == "no log of n7 in .fasttree/logs; there are: n1, pusher"
    assert "name the folder of `fasttree up` by --dir" in run("--dir", str(tmp_path))[1]


def test_the_folder_is_that_of_the_endpoints(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    endpoints = str(tmp_path / ".fasttree/endpoints.json")  # gone, where the cluster has ended
    assert run("n1", "-n", "1", "--endpoints", endpoints)[0] == ["line 99"]
    monkeypatch.setenv("FASTTREE_ENDPOINTS", endpoints)
    assert run("n1", "-n", "1")[0] == ["line 99"]
    monkeypatch.setenv("FASTTREE_ENDPOINTS", str(tmp_path / "endpoints.json"))
    words = f"no logs in {tmp_path}: name the folder of `fasttree up` by --dir, or its endpoints.json by --endpoints"
    assert run("n1")[1].startswith(words)


def test_a_log_is_followed_also_into_a_new_file(folder: Path) -> None:
    path = folder / "pusher.log"
    tail = _Tail(path)
    assert tail.new_lines() == ["a\x1b[31m"]
    assert tail.new_lines() == []
    with path.open("a") as file:
        file.write("ne\nnext\n")
    assert tail.new_lines() == ["half a line", "next"]
    path.rename(path.with_suffix(".log.1"))
    assert tail.new_lines() == []
    path.write_text("anew\n")
    assert tail.new_lines() == ["anew"]
    path.write_bytes(b"x" * 3_000_000 + b"\nend\n")
    assert tail.new_lines()[-1] == "end"


def test_it_follows_until_it_is_stopped(folder: Path) -> None:
    command = [sys.executable, "-u", "-m", "fasttree.command", "logs", "n1", "-f", "-n", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder.parents[1]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "line 99\n"
        with (folder / "n1.log").open("a") as file:
            file.write("line 100\n")
        assert re.fullmatch(r"line 100\n", process.stdout.readline())
        process.terminate()
