"""What no log explains is found, in what clients saw alone."""

from __future__ import annotations

import random

import pytest

from bench.cluster.history import Pushed, Read, problems

#: Two that overlap, then one that began when both had their receipts.
GOOD = [Pushed("a", 0.0, 3.0, 2), Pushed("b", 1.0, 2.0, 1), Pushed("c", 4.0, 5.0, 3)]


def test_a_log_explains_what_a_log_did() -> None:
    """Made by a log: each push takes its place at one instant of its call."""
    draw = random.Random(5)
    instants = sorted(draw.uniform(0.0, 100.0) for _ in range(500))
    pushes = [
        Pushed(f"u{at}", instant - draw.random() * 5, instant + draw.random() * 5, at)
        for at, instant in enumerate(instants, 1)
    ]
    reads = []
    for _ in range(200):
        instant = draw.uniform(0.0, 100.0)
        shown = sum(at <= instant for at in instants)
        reads.append(Read(instant - 1.0, instant + 1.0, draw.randint(0, shown), shown))
    draw.shuffle(pushes)
    assert problems(pushes, reads) == []


@pytest.mark.parametrize(
    ("pushes", "reads", "said"),
    [
        ([*GOOD, Pushed("d", 6.0, 7.0, 1)], [], "b and d both have receipts for 1"),
        ([*GOOD, Pushed("c", 4.0, 8.0, 4)], [], "c has receipts for 3 and 4"),
        ([Pushed("a", 0.0, 1.0, 2), Pushed("b", 2.0, 3.0, 1)], [], "b was pushed after the receipt of a for 2"),
        (GOOD, [Read(6.0, 7.0, 3, 2)], "a read that asked for 3 was as of 2"),
        (GOOD, [Read(3.0, 3.5, 0, 3)], "a read as of 3 was answered before c of it was pushed"),
    ],
)
def test_what_no_log_explains_is_said(pushes: list[Pushed], reads: list[Read], said: str) -> None:
    assert any(said in problem for problem in problems(pushes, reads))
