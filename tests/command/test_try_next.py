"""What `fasttree up` says to type next can be typed where it says so, however it was installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fasttree.command.local.import_sample import try_next


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment that is no checkout's, with the command in it."""
    program = tmp_path / "env" / "bin" / "fasttree"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    return program


def test_a_command_on_the_path_is_named_as_it_is_typed(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(installed.parent))
    monkeypatch.setattr("sys.argv", [str(installed)])
    lines = try_next(Path(".fasttree/endpoints.json").absolute()).splitlines()
    assert lines[1] == "  fasttree status"
    assert not [line for line in lines if "make " in line or "README" in line or ".venv" in line]


def test_one_that_is_elsewhere_is_named_with_its_place_and_its_cluster(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.argv", [str(installed)])
    lines = try_next(Path("/srv/a b/endpoints.json")).splitlines()
    assert lines[1] == "  env/bin/fasttree --endpoints '/srv/a b/endpoints.json' status"
