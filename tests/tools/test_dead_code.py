"""Dead code is found and named; what is kept has to be there."""

from pathlib import Path

from tools.dead_code import problems

MODULE = """
import click

def used(): ...
def unused(): ...

@click.command()
def registered():
    used()
"""


def found(folder: Path, kept: dict[str, str]) -> list[str]:
    (folder / "room").mkdir(exist_ok=True)
    (folder / "room" / "module.py").write_text(MODULE)
    return list(problems(folder, ["room"], kept))


def test_what_nothing_uses_is_named_with_its_place(tmp_path: Path) -> None:
    (problem,) = found(tmp_path, {})
    assert problem.startswith("room/module.py:5: unused function 'unused'")


def test_what_is_kept_is_no_problem(tmp_path: Path) -> None:
    assert found(tmp_path, {"room/module.py:unused": "a reason"}) == []


def test_a_line_that_keeps_nothing_is_named(tmp_path: Path) -> None:
    kept = {"room/module.py:unused": "a reason", "room/module.py:gone": "a reason"}
    (problem,) = found(tmp_path, kept)
    assert "'room/module.py:gone' keeps nothing" in problem
