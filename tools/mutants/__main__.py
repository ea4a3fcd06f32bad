"""python -m tools.mutants: see the package."""

from __future__ import annotations

import ast
import json
import random
import re
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import click

from services.shared.processors import processors
from tools.mutants.mutations import find_mutants
from tools.mutants.rooms import ROOMS, ROOT, Room
from tools.mutants.runs import Changed, RoomError, Verdict, verdicts

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
GOAL = 0.95
_SURVIVED = (Verdict.SURVIVED, Verdict.NOT_REACHED)


def changes_of(room: Room) -> list[Changed]:
    """Every mutant of a room."""
    found = []
    for path in room.paths():
        name = path.relative_to(ROOT)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = ".".join(name.with_suffix("").parts)
        found += [Changed(module, path, tree, mutant) for mutant in find_mutants(name.as_posix(), tree)]
    return found


def equivalents() -> dict[str, str]:
    """Mutant to the reason why nobody could notice it."""
    groups = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("equivalent", [])
    return {mutant: group["reason"] for group in groups for mutant in group["mutants"]}


def drawn(names: Iterable[str], sample: int, seed: int) -> set[str]:
    """What is to be run: all, or a sample from the seed."""
    found = list(names)
    return set(random.Random(seed).sample(found, min(sample, len(found))) if sample else found)


def survivors_of(report: str) -> set[str]:
    """The names of those that an earlier run reports, whatever line they were in."""
    kinds = "|".join(verdict.value.upper() for verdict in _SURVIVED)
    return {f"{path} {name}" for path, name in re.findall(rf"^(?:{kinds}) ([^:]+):\d+ (.*)$", report, re.MULTILINE)}


@click.command()
@click.option("--sample", default=0, help="So many mutants; 0: all.")
@click.option("--seed", default=1, help="Draws the sample.")
@click.option("--only", default="", help="Modules whose path holds this.")
@click.option("--test-s-max", default=float("inf"), help="Leaves out tests that take longer, for a first look.")
@click.option("--again", type=click.Path(path_type=Path), help="Only the survivors of an earlier run: its output.")
@click.option("--jobs", default=processors(), help="Mutants at a time.")
def main(sample: int, seed: int, only: str, test_s_max: float, again: Path | None, jobs: int) -> None:
    """Runs mutants, lists the survivors, prints the figures as JSON; fails where too many survive."""
    rooms = [(room, changes_of(room)) for room in ROOMS]
    everything = {change.mutant.name: change.mutant for _, changes in rooms for change in changes}
    known = equivalents()
    names = {name for name, mutant in everything.items() if only in mutant.path} - known.keys()
    if again is not None:
        names &= survivors_of(again.read_text(encoding="utf-8"))
    chosen = drawn(sorted(names), sample, seed)
    by_module: dict[str, Counter[Verdict]] = defaultdict(Counter)
    for room, changes in rooms:
        if not (to_run := [change for change in changes if change.mutant.name in chosen]):
            continue
        try:
            for name, verdict in verdicts(to_run, room.tests, jobs, test_s_max):
                by_module[everything[name].path][verdict] += 1
                if verdict is not Verdict.NOTICED:
                    click.echo(f"{verdict.value.upper()} {everything[name]}")
        except RoomError as error:
            raise click.ClickException(f"with nothing changed, {' '.join(room.tests)} fail:\n{error}") from error
    stale = sorted(known.keys() - everything.keys())
    for name in stale:
        click.echo(f"equivalent.toml names a mutant that is none any more: {name}")
    share = _report(by_module, {"equivalent": len(known) - len(stale), "sample": sample, "seed": seed, "only": only})
    sys.exit(share < GOAL or bool(stale))


def _report(by_module: dict[str, Counter[Verdict]], more: dict[str, object]) -> float:
    """Prints the figures; returns the share that was noticed."""

    def noticed(counts: Counter[Verdict]) -> int:
        return counts[Verdict.NOTICED] + counts[Verdict.TOO_SLOW]

    for path, counts in by_module.items():
        click.echo(f"{noticed(counts):5} of {counts.total():5} noticed  {path}")
    total = sum(by_module.values(), Counter[Verdict]())
    share = noticed(total) / total.total() if total else 1.0
    figures = {
        "mutants": total.total(),
        "noticed": noticed(total),
        "noticed_share": round(share, 4),
        **{verdict.name.lower(): total[verdict] for verdict in (Verdict.TOO_SLOW, *_SURVIVED)},
        **more,
    }
    click.echo(json.dumps(figures))
    return share


if __name__ == "__main__":
    main()
