"""The kernels as plain Python: what they do must not depend on the compiler."""

from __future__ import annotations

import os
import subprocess
import sys

SCENARIO = """
import random
import numpy as np
np.seterr(over="ignore")
from services.treenode.tree import Tree
from tests.treenode.tree.judge import expect_same, naive_tree, tree_of
from tests.treenode.tree.naive import Place
from tests.treenode.tree.say import enrol, move, order, remove, take

choose = random.Random(23)
ids = [f"m{number}" for number in range(9)]
naive = naive_tree()
for number in reversed(range(5)):
    above = f"m{number // 2}" if number else ""
    naive.places[ids[number]] = Place(sponsor=above, placement=above, leg=1 + number % 2 if above else 0)
tree = tree_of(naive)
for step in range(70):
    one, two = choose.choice(ids), choose.choice(["", *ids])
    change = choose.choice([
        lambda: enrol(one, two, choose.choice(["", *ids])),
        lambda: enrol(one, two),
        lambda: enrol(one),
        lambda: enrol(one, "", two),
        lambda: order(one, choose.choice([7, -7, 2**31, 2**62])),
        lambda: move(one, two, tree=choose.choice([1, 2])),
        lambda: remove(one, leave_empty=choose.random() < 0.5),
    ])()
    take(tree, change)
    naive.apply(change)
    if step % 10 == 9:
        expect_same(tree, naive)
        tree = Tree.from_state(*tree.relayout().state())
expect_same(tree, naive)
print(tree.digest, tree.member_count)
"""


def outcome(disable_jit: str) -> str:
    """What the scenario prints."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": disable_jit, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", SCENARIO], env=environment, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_same_comes_out_with_and_without_the_compiler() -> None:
    compiled = outcome("0")
    assert compiled == outcome("1")
    assert int(compiled.split()[1]) > 2
