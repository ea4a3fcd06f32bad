"""python -m tools.mutants: see the package."""

from __future__ import annotations

import ast
import json
import os
import random
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from types import CodeType
from typing import NamedTuple

import click

from tools.mutants.mutations import Mutant, find_mutants
from tools.mutants.rooms import ROOMS, ROOT
from tools.mutants.runs import Run, Verdict, prepare, verdicts

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
#: Of the tests' own time without a mutant, and at least so long.
_SLOWER_TIMES = 5
_TIMEOUT_S_MIN = 20.0
GOAL = 0.95


class Module(NamedTuple):
    """One module, its tests, and its mutants, which all change the one tree."""

    path: Path
    tests: tuple[str, ...]
    tree: ast.Module
    mutants: list[Mutant]

    @property
    def name(self) -> str:
        return ".".join(self.path.relative_to(ROOT).with_suffix("").parts)


def modules(only: str) -> Iterator[Module]:
    """Those of the table whose path holds `only`."""
    for room in ROOMS:
        for path in room.paths():
            tree = ast.parse(path.read_text(encoding="utf-8"))
            name = path.relative_to(ROOT).as_posix()
            if only in name:
                yield Module(path, room.tests, tree, find_mutants(name, tree))


def equivalents() -> dict[str, str]:
    """Mutant to the reason why nobody could notice it."""
    groups = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("equivalent", [])
    return {mutant: group["reason"] for group in groups for mutant in group["mutants"]}


def drawn(found: Iterable[Module], known: Iterable[str], sample: int, seed: int) -> list[tuple[Module, Mutant]]:
    """What is to be run: all, or a sample from the seed; the known equivalents left out."""
    left_out = set(known)
    pairs = [(module, mutant) for module in found for mutant in module.mutants if mutant.name not in left_out]
    if sample:
        chosen = set(random.Random(seed).sample(range(len(pairs)), min(sample, len(pairs))))
        pairs = [pair for index, pair in enumerate(pairs) if index in chosen]
    return pairs


def runs(pairs: Iterable[tuple[Module, Mutant]], timeouts_s: dict[tuple[str, ...], float]) -> Iterator[Run]:
    """The runs of the mutants."""
    for module, mutant in pairs:
        yield Run(
            mutant.name,
            module.name,
            module.path,
            partial(_code, module, mutant),
            module.tests,
            timeouts_s[module.tests],
        )


def _code(module: Module, mutant: Mutant | None) -> CodeType:
    if mutant is not None:
        mutant.apply()
    return compile(module.tree, str(module.path), "exec")


def measured(found: Iterable[Module], jobs: int) -> dict[tuple[str, ...], float]:
    """How long the tests of each module may take: they run once with nothing changed.

    Raises:
        click.ClickException: They fail.
    """
    by_name = {module.name: module for module in {module.tests: module for module in found}.values()}
    unchanged = [Run(name, name, m.path, partial(_code, m, None), m.tests, 600.0) for name, m in by_name.items()]
    timeouts_s = {}
    for name, verdict, took_s in verdicts(unchanged, jobs):
        if verdict is not Verdict.SURVIVED:
            raise click.ClickException(f"with nothing changed, the tests of {name} fail or take more than 600 s")
        timeouts_s[by_name[name].tests] = max(_TIMEOUT_S_MIN, took_s * _SLOWER_TIMES)
        click.echo(f"{took_s:5.1f} s for the tests of {name}")
    return timeouts_s


@click.command()
@click.option("--sample", default=0, help="So many mutants; 0: all.")
@click.option("--seed", default=1, help="Draws the sample.")
@click.option("--only", default="", help="Modules whose path holds this.")
@click.option("--jobs", default=os.cpu_count() or 1, help="Mutants at a time.")
def main(sample: int, seed: int, only: str, jobs: int) -> None:
    """Runs mutants, lists the survivors, prints the figures as JSON; fails where too many survive."""
    found = list(modules(only))
    known = equivalents()
    names = {mutant.name for module in modules("") for mutant in module.mutants}
    stale = sorted(known.keys() - names)
    prepare()
    timeouts_s = measured(found, jobs)
    pairs = drawn(found, known, sample, seed)
    shown = {mutant.name: mutant for _, mutant in pairs}
    counts: Counter[Verdict] = Counter()
    for name, verdict, _ in verdicts(runs(pairs, timeouts_s), jobs):
        counts[verdict] += 1
        if verdict is Verdict.SURVIVED:
            click.echo(f"SURVIVED {shown[name]}")
    for name in stale:
        click.echo(f"equivalent.toml names a mutant that is none any more: {name}")
    noticed = counts[Verdict.NOTICED] + counts[Verdict.TOO_SLOW]
    share = noticed / len(pairs) if pairs else 1.0
    figures = {
        "mutants": len(pairs),
        "noticed": noticed,
        "by_time_out": counts[Verdict.TOO_SLOW],
        "survived": counts[Verdict.SURVIVED],
        "noticed_share": round(share, 4),
        "equivalent": len(known.keys() & names),
        "stale": len(stale),
        "sample": sample,
        "seed": seed,
        "only": only,
    }
    click.echo(json.dumps(figures))
    sys.exit(share < GOAL or bool(stale))


if __name__ == "__main__":
    main()
