"""What Python runs in a process that ours start: never what lies in the folder that they were started in."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.shared.python_process import python_command

ROOT = Path(__file__).parents[2]
HOME = "services/shared/python_process.py"


def test_what_lies_in_the_current_folder_is_not_run(tmp_path: Path) -> None:
    """A module of the standard library, a package and a namespace of ours, each planted by its name."""
    planted = "open('ran', 'w').close()\nraise SystemExit('planted code runs')\n"
    for name in ("csv.py", "json.py", "http.py", "msgspec.py", "services.py"):
        (tmp_path / name).write_text(planted)
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "__init__.py").write_text(planted)
    command = python_command("services.shared.mapping.process")
    ran = subprocess.run(command, cwd=tmp_path, input=b"", capture_output=True, timeout=120, check=False)
    assert b"planted" not in ran.stderr
    assert b"No module named" not in ran.stderr
    assert not (tmp_path / "ran").exists()


def starts(source: str) -> Iterator[int]:
    """Lines where a program names the interpreter, by `sys.executable` or by the name of a command."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr="executable") | ast.Constant(value="python" | "python3" | "python3.11"):
                yield node.lineno
            case ast.ImportFrom(names=names) if any(alias.name == "executable" for alias in names):
                yield node.lineno


def test_nobody_else_starts_python() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for folder in ("services", "client/fasttree")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if str(path.relative_to(ROOT)) != HOME
        for line in starts(path.read_text())
    ]
    assert not found, f"start it by `python_command` of {HOME}"
    assert len(list(starts((ROOT / HOME).read_text()))) == 1


@pytest.mark.parametrize("unit", sorted((ROOT / "deploy" / "systemd").glob("*.service")), ids=lambda path: path.name)
def test_nor_do_the_units_of_services_look_there(unit: Path) -> None:
    (line,) = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
    assert "/bin/python -P -m services." in line
