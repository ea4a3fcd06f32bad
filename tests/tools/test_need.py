"""Whatever is missing: no package is installed that nobody asked for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

NEED = Path(__file__).parents[2] / "tools" / "need"


def run(folder: Path, *pairs: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """How it ends, and what apt-get was called with."""
    calls = folder / "calls"
    for name, lines in {"apt-get": f'echo "$@" >> {calls}', "sudo": 'shift; exec "$@"', "id": "echo 0"}.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\n{lines}\n")
        program.chmod(0o755)
    ran = subprocess.run(
        ["bash", str(NEED), *pairs],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{folder}:{os.environ['PATH']}", **environment},
    )
    return ran, calls.read_text().splitlines() if calls.exists() else []


def test_what_is_missing_is_named_with_the_command_to_run(tmp_path: Path) -> None:
    ran, calls = run(tmp_path, "sh=dash", "no-such-command=some-package")
    assert (ran.returncode, calls) == (1, [])
    assert ran.stderr == (
        "error: needs some-package: run: sudo apt-get install some-package (or let make do it: INSTALL_PACKAGES=yes)\n"
    )


def test_it_is_installed_where_that_is_asked_for(tmp_path: Path) -> None:
    ran, calls = run(tmp_path, "no-such-command=some-package", INSTALL_PACKAGES="yes")
    assert ran.returncode == 0, ran.stderr
    assert calls == ["install --yes --quiet --no-install-recommends some-package"]


def test_nothing_is_said_where_all_is_there(tmp_path: Path) -> None:
    ran, calls = run(tmp_path, "sh=dash")
    assert (ran.returncode, ran.stdout, ran.stderr, calls) == (0, "", "", [])
