"""Names in back-ticks: what is there passes, what is gone is named with its place."""

import subprocess
from pathlib import Path

import pytest

from tools.backticks import ROOT, problems

MODULE = '''
"""The door: {}"""

class Door:
    width = 1

    def open(self, by: str) -> None:
        """Opens."""
        self.opened = by
'''


def found(folder: Path, text: str, no_names: dict[str, str] | None = None) -> list[str]:
    """The problems of a repository in which one docstring holds the text."""
    files = {
        "services/house/door.py": MODULE.replace("{}", text),
        "services/garden/tree.py": "class Apple: ...\n",
        "services/shared/air.py": "class Wind: ...\n",
        "proto/house.proto": "message Guest {\n  string first_name = 1;\n}\n",
        "Makefile": "bake:\n",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return list(problems(folder, no_names or {}))


@pytest.mark.parametrize(
    "text",
    [
        "`door.py`, `services/garden`, `house/`",
        "`Door`, `open`, `open()`, `width=3`, `by`",
        "`Door.width`, `Door.opened`, `services.house.door.Door`",
        "`Guest`, `first_name`, `Wind`",
        "`make bake`, `python -m services.house.door`, `fasttree log dump`",
        "`7`, `a + b`, `DIR/logs`, `<name>.part`, `…`",
    ],
)
def test_names_that_are_there(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("`window.py`", "no such file or folder"),
        ("`services/attic`", "no such file or folder"),
        ("`Window`", "no such name"),
        ("`closed`", "no such name"),
        ("`close()`", "no such name"),
        ("`Door.height`", "no such name"),
        ("`services.house.door.Window`", "no such name"),
        # There, but where this file can't import from.
        ("`Apple`", "no such name"),
        ("`make bread`", "no such target"),
        ("`fasttree bake`", "no such command"),
        ("`python -m services.house.window`", "no such module"),
        ("`--bread`", "no such option"),
    ],
)
def test_names_that_are_gone(tmp_path: Path, text: str, said: str) -> None:
    (problem,) = found(tmp_path, text)
    assert problem.startswith(f"services/house/door.py:2: {text}: {said}")


def test_an_exception_has_to_except_something(tmp_path: Path) -> None:
    assert found(tmp_path, "`Window`", {"Window": "a reason"}) == []
    (problem,) = found(tmp_path, "nothing", {"Window": "a reason"})
    assert "'Window' stands nowhere" in problem


def test_pages_may_name_values_of_the_code(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "door.md").write_text("Opened `by`.\n\n```\n`not` read\n```\n\nBy `nobody`.\n")
    (problem,) = found(tmp_path, "")
    assert problem.startswith("docs/door.md:7: `nobody`: no such name")


def test_the_wrong_names_of_old_would_be_found() -> None:
    """Three that once stood here for a year."""
    from tools.backticks import Names, problem

    names = Names(ROOT)
    seen = names.seen_from("services/pusher/imports/rollout.py")
    assert problem("Record", names, seen) == "no such name"
    assert problem("RecordTaken", names, seen) == ""
    assert problem("rollout_runner.py", names, seen) == "no such file or folder"
