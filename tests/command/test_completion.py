"""Completion as a real shell does it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fasttree.command.main import cli
from fasttree.command.session import Session


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "bin" / "fasttree"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m fasttree.command "$@"\n')
    path.chmod(0o755)
    return path


def completed(program: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    script = (
        f'PATH={program.parent}:$PATH; eval "$(fasttree completion bash)"; COMP_WORDS=(fasttree {" ".join(words)}); '
        f"COMP_CWORD={len(words)}; _fasttree_completion fasttree; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    bash = shutil.which("bash")
    assert bash is not None
    return subprocess.run([bash, "-c", script], capture_output=True, text=True, check=True, timeout=120).stdout.split()


def test_bash_completes_commands_options_and_values(program: Path) -> None:
    assert completed(program, "node", "re") == ["remove"]
    assert completed(program, "holding-tank", "--as-of") == ["--as-of-period"]
    assert completed(program, "downline", "--tree", "p") == ["placement"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_told_the_variable_that_we_listen_to(shell: str) -> None:
    printed = CliRunner().invoke(cli, ["completion", shell], obj=Session(), prog_name="fasttree").stdout
    assert f"_FASTTREE_COMPLETE={shell}_complete" in printed
