"""How a bug is put in, and looked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.simulator.result import Result
from tests.simulator.run import run_seed

SEEDS_MAX = 200


@dataclass(frozen=True)
class Planted:
    """A bug: what it breaks, how it is put in, and how soon it has to be found."""

    name: str
    #: The rule that it breaks, in one line.
    breaks: str
    #: What is replaced: class, attribute, and what stands there instead.
    changes: tuple[tuple[Any, str, Any], ...]
    #: It shows within so many seeds.
    seeds_max: int = SEEDS_MAX


def plant(name: str, breaks: str, owner: Any, attribute: str, instead: Any, seeds_max: int = SEEDS_MAX) -> Planted:
    """A bug that replaces one thing."""
    return Planted(name, breaks, ((owner, attribute, instead),), seeds_max)


@contextmanager
def in_place(bug: Planted) -> Iterator[None]:
    """The bug is there for as long as this goes on."""
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in bug.changes]
    for owner, name, instead in bug.changes:
        setattr(owner, name, instead)
    try:
        yield
    finally:
        for owner, name, original in before:
            setattr(owner, name, original)


def find(bug: Planted, seeds_max: int = 0) -> tuple[int, Result | None]:
    """Runs seeds until one shows the bug; how many that took, and what it showed. 0: as many as the bug states."""
    seeds_max = seeds_max or bug.seeds_max
    with in_place(bug):
        for seed in range(1, seeds_max + 1):
            result, _ = run_seed(seed)
            if result.violation:
                return seed, result
    return seeds_max, None
