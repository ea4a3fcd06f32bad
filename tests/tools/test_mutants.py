"""The mutator: what it changes, and that a mutant is noticed, or not, by real tests of a real module."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.mutants.__main__ import survivors_of
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
from tools.mutants.runs import Changed, RoomError, verdicts

folder = Path(sys.argv[1])
path = folder / "planted.py"
tree = ast.parse(path.read_text())
changes = [Changed("planted", path, tree, mutant) for mutant in find_mutants("planted.py", tree)]
try:
    print(json.dumps({name: verdict.value for name, verdict in verdicts(changes, [str(folder)], jobs=2)}))
except RoomError as error:
    print(json.dumps({"error": str(error)}))
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


def verdicts_of(folder: Path, module: str, tests: str) -> dict[str, str]:
    """Every mutant of a module, without path, to what became of it."""
    (folder / "planted.py").write_text(module)
    (folder / "test_planted.py").write_text(tests)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(root), *sys.path])}
    command = [sys.executable, "-c", RUN_ALL, str(folder)]
    ran = subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=True)
    return {name.removeprefix("planted.py "): verdict for name, verdict in json.loads(ran.stdout).items()}


def test_a_noticed_mutant_is_counted_and_a_survivor_is_named(tmp_path: Path) -> None:
    assert verdicts_of(tmp_path, MODULE, TESTS) == {
        # At the boundary nothing is left either way.
        "room_left: used >= size -> used > size": "survived",
        "room_left: used >= size -> used < size": "noticed",
        "room_left: 0 -> 1": "noticed",
        "room_left: return size - used -> return 0": "noticed",
        "room_left: size - used -> size + used": "noticed",
    }


def test_constants_methods_and_what_nobody_tests(tmp_path: Path) -> None:
    module = """
LIMIT = 2
NAMES = {"a": 1}

from functools import cached_property

class Gate:
    def __init__(self) -> None:
        self.count = 0

    @cached_property
    def room(self) -> int:
        return LIMIT - 1

    @property
    def full(self) -> bool:
        return self.count == LIMIT

    def untested(self) -> bool:
        return True
"""
    tests = """
from planted import LIMIT, NAMES, Gate

def test_gate():
    gate = Gate()
    assert not gate.full
    gate.count = LIMIT
    assert gate.full
    assert gate.room == 1
    assert (LIMIT, NAMES) == (2, {"a": 1})
"""
    found = verdicts_of(tmp_path, module, tests)
    assert {name for name, verdict in found.items() if verdict == "not reached"} == {"Gate.untested: True -> False"}
    assert {name for name, verdict in found.items() if verdict == "survived"} == {"Gate.__init__: 0 -> 1"}
    assert (
        found["module: 2 -> 3"]
        == found["module: 1 -> 2"]
        == found["Gate.room: LIMIT - 1 -> LIMIT + 1"]
        == found["Gate.full: self.count == LIMIT -> self.count != LIMIT"]
        == "noticed"
    )


def test_a_mutant_that_never_ends_is_ended(tmp_path: Path) -> None:
    module = "def count(to):\n    n = 0\n    while n < to:\n        n += 1\n    return n\n"
    found = verdicts_of(tmp_path, module, "from planted import count\n\ndef test_count():\n    assert count(3) == 3\n")
    assert found["count: n += 1 -> nothing"] == "too slow"


def test_tests_that_fail_unchanged_are_an_error(tmp_path: Path) -> None:
    found = verdicts_of(
        tmp_path, "def one():\n    return 1\n", "import planted\n\ndef test():\n    assert planted.one() == 2\n"
    )
    assert "assert 1 == 2" in found["error"]


def test_survivors_of_a_report_have_the_names_of_their_mutants() -> None:
    (mutant,) = find_mutants("a/m.py", ast.parse("def f() -> int:\n    return g(x)\n"))
    assert survivors_of(f"   3 of 4 noticed\nSURVIVED {mutant}\nNOT REACHED a/n.py:7 f: 1 -> 2\n") == {
        mutant.name,
        "a/n.py f: 1 -> 2",
    }
