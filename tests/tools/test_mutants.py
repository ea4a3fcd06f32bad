"""The mutator: what it changes, and that a mutant is noticed, or not, by real tests of a real module."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.mutants.mutations import find_mutants

MODULE = '''
def room_left(used: int, size: int) -> int:
    """How many more fit."""
    if used >= size:
        return 0
    return size - used
'''
TESTS = """
from planted import room_left

def test_room():
    assert room_left(1, 2) == 1
    assert room_left(2, 2) == 0
    assert room_left(9, 2) == 0
"""
RUN_ALL = """
import ast, json, sys
from pathlib import Path
from tools.mutants.mutations import find_mutants
from tools.mutants.runs import Run, prepare, verdicts

folder = Path(sys.argv[1])
tree = ast.parse((folder / "planted.py").read_text())

def made(mutant):
    def code():
        mutant.apply()
        return compile(tree, "planted.py", "exec")
    return code

prepare()
tests = (str(folder / "test_planted.py"),)
runs = [Run(m.name, "planted", folder / "planted.py", made(m), tests, 30.0) for m in find_mutants("planted.py", tree)]
print(json.dumps({name: verdict.value for name, verdict, _ in verdicts(runs, jobs=2)}))
"""


def mutants_of(source: str) -> dict[str, str]:
    """Name of each mutant, without path and function, to the module's text with it."""
    texts = {}
    for number in range(len(find_mutants("m.py", ast.parse(source)))):
        tree = ast.parse(source)
        mutant = find_mutants("m.py", tree)[number]
        mutant.apply()
        texts[mutant.name.split(": ", 1)[1]] = ast.unparse(tree)
    return texts


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = b < c", {"b < c -> b <= c", "b < c -> b >= c"}),
        ("a = b == c", {"b == c -> b != c"}),
        ("a = b and c", {"b and c -> b or c", "b and c -> b", "b and c -> c"}),
        ("a = not b", {"not b -> b"}),
        ("a = b + 2", {"b + 2 -> b - 2", "2 -> 3", "2 -> 1"}),
        ("a = min(b)", {"min(b) -> max(b)"}),
        ("a = [B(), C()]", {"[B(), C()] -> [C()]", "[B(), C()] -> [B()]"}),
        ("self.a = b", {"self.a = b -> nothing"}),
        ("self.act(b)", {"self.act(b) -> nothing"}),
        ("if a: b = c", {"a -> not a"}),
        ("raise A(1)", {"raise A(1) -> nothing"}),
        ("logger.info(b, 1)", set()),
        ("'''Why.'''", set()),
        ("assert a", set()),
    ],
)
def test_what_is_changed(body: str, expected: set[str]) -> None:
    texts = mutants_of(f"def f(self):\n    {body}\n    d = 'e'\n")
    assert set(texts) == expected
    assert len(set(texts.values())) == len(texts), "each is another module"


def test_results_change_by_their_annotation() -> None:
    assert set(mutants_of("def f() -> bool:\n    return g(x)")) == {
        "return g(x) -> return True",
        "return g(x) -> return False",
    }
    assert set(mutants_of("def f() -> list[int]:\n    return g(x)")) == {"return g(x) -> return []"}
    assert set(mutants_of("def f() -> A | None:\n    return g(x)")) == {"return g(x) -> return None"}


def test_a_guard_is_left_out() -> None:
    assert "a -> True" in mutants_of("def f(x):\n    match x:\n        case A() if a:\n            b = c\n")


def test_checks_and_fields_stay_as_they_are() -> None:
    assert mutants_of("class A:\n    b: int = 1\n    def validate(self):\n        self.c()\n") == {}


def test_a_noticed_mutant_is_counted_and_a_survivor_is_named(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(MODULE)
    (tmp_path / "test_planted.py").write_text(TESTS)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root), *sys.path])}
    ran = subprocess.run(
        [sys.executable, "-c", RUN_ALL, str(tmp_path)], env=environment, cwd=tmp_path, capture_output=True, check=True
    )
    verdicts = json.loads(ran.stdout.splitlines()[-1])
    survived = {name.split(": ", 1)[1] for name, verdict in verdicts.items() if verdict == "survived"}
    # At the boundary nothing is left either way.
    assert survived == {"used >= size -> used > size"}
    assert set(verdicts.values()) == {"noticed", "survived"}
    assert len(verdicts) == 5


def test_a_mutant_that_never_ends_is_ended(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text("def count(to):\n    n = 0\n    while n < to:\n        n += 1\n    return n\n")
    (tmp_path / "test_planted.py").write_text(
        "from planted import count\n\ndef test_count():\n    assert count(3) == 3\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root), *sys.path])}
    ran = subprocess.run(
        [sys.executable, "-c", RUN_ALL.replace("30.0", "5.0"), str(tmp_path)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    verdicts = json.loads(ran.stdout.splitlines()[-1])
    assert verdicts["planted.py count: n += 1 -> nothing"] == "too slow"
