"""Layout: pre-order of any forest in any order of its file."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.treenode.tree.building.layout import preorder


def naive_preorder(parents: list[int]) -> list[int]:
    """The pre-order number of each row, siblings in file order."""
    numbers = [0] * len(parents)
    count = 0
    waiting = [row for row in range(len(parents) - 1, -1, -1) if parents[row] < 0]
    while waiting:
        row = waiting.pop()
        numbers[row] = count
        count += 1
        waiting += [child for child in range(len(parents) - 1, -1, -1) if parents[child] == row]
    return numbers


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.lists(st.integers(-1, 40), max_size=40), st.randoms(use_true_random=False))
def test_preorder_of_any_forest(choices: list[int], chance: object) -> None:
    count = len(choices)
    parents = [choice if choice < row else -1 for row, choice in enumerate(choices)]
    assert preorder(np.array(parents, dtype=np.int32)).tolist() == naive_preorder(parents)
    place = list(range(count))
    chance.shuffle(place)  # type: ignore[attr-defined]
    scrambled = [0] * count
    for row, parent in enumerate(parents):
        scrambled[place[row]] = place[parent] if parent >= 0 else -1
    assert preorder(np.array(scrambled, dtype=np.int32)).tolist() == naive_preorder(scrambled)
