"""`python -m tests.simulator --seeds 2000`: runs seeds on every processor; the last line is JSON with the figures. Of
each seed a whole cluster is run, and a story of several pushers (`tests/simulator/turns`).

`--seed K --trace` runs one seed again and prints its whole story.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import sys
import time
from multiprocessing import Pool

from services.shared.processors import processors
from tests.simulator.planted import PLANTED
from tests.simulator.planted.planting import find
from tests.simulator.result import Result
from tests.simulator.run import run_seed
from tests.simulator.turns import planted as turns
from tests.simulator.turns.stores import BrokenPromiseError
from tests.simulator.turns.world import World


def main() -> int:
    """Parses, runs, reports; 1 where a promise was broken or a planted bug was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="how many seeds to run")
    parser.add_argument("--first", type=int, default=1, metavar="K", help="the first of them")
    parser.add_argument("--seed", type=int, metavar="K", help="run this one alone")
    parser.add_argument("--trace", action="store_true", help="print the whole story of --seed")
    parser.add_argument("--jobs", type=int, default=processors(), help="processes")
    parser.add_argument("--no-planted", action="store_true", help="leave the planted bugs out")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what the product's code says of each fault of the store
    if arguments.seed is not None:
        return _one(arguments.seed, tracing=arguments.trace)
    return _many(arguments.first, arguments.seeds, arguments.jobs, planted=not arguments.no_planted)


def _one(seed: int, *, tracing: bool) -> int:
    result, story = run_seed(seed, tracing=tracing)
    if tracing:
        print("\n".join(story))
    print(result.violation or "clean")
    print(json.dumps({"seed": seed, "violations": int(bool(result.violation)), "steps": result.steps}))
    return int(bool(result.violation))


def _many(first: int, seeds: int, jobs: int, *, planted: bool) -> int:
    began, bugs = time.monotonic(), len(PLANTED) + len(turns.PLANTED)
    simulated_s, skipped_s, violations, found, failed_reads, reads = 0.0, 0.0, [], 0, 0, 0
    totals = {"acknowledged": 0, "elections": 0, "imports": 0, "stored": 0, "stored_starts": 0}
    with Pool(jobs, _collect_rarely) as pool:
        for count, result in enumerate(pool.imap_unordered(_run, range(first, first + seeds), chunksize=4), 1):
            simulated_s, skipped_s = simulated_s + result.simulated_s, skipped_s + result.skipped_s
            reads, failed_reads = reads + result.reads, failed_reads + result.failed_reads
            for name in totals:
                totals[name] += getattr(result, name)
            if result.violation:
                violations.append(result.seed)
                print(f"seed {result.seed}: {_headline(result)}", flush=True)
            if count % 200 == 0:
                print(
                    f"{count} seeds, {simulated_s / 3600:.0f} cluster-hours, {len(violations)} violations", flush=True
                )
        took_s = time.monotonic() - began
        stories = pool.map(_turns, range(first, first + seeds), chunksize=16)
        for seed, broken in stories:
            if broken:
                print(f"pushers' turns, seed {seed}: {broken}", flush=True)
        broken_turns = [seed for seed, broken in stories if broken]
        if planted:
            for name, seeds_needed, headline in pool.imap(_find_turns, range(len(turns.PLANTED))):
                found += bool(headline)
                print(f"planted {name}: " + (f"{seeds_needed} stories: {headline}" if headline else "NOT FOUND"))
            for name, seeds_needed, headline in pool.imap(_find, [bug.name for bug in PLANTED]):
                found += bool(headline)
                print(
                    f"planted {name}: " + (f"{seeds_needed} seeds: {headline}" if headline else "NOT FOUND"), flush=True
                )
    for seed in violations[:20]:
        print(f"replay: python -m tests.simulator --seed {seed} --trace")
    report = {
        "seeds": seeds,
        "violations": len(violations),
        "simulated_hours": round(simulated_s / 3600, 1),
        # Stepped event by event; the rest was quiet, and skipped.
        "stepped_hours": round((simulated_s - skipped_s) / 3600, 1),
        "cluster_hours_per_minute": round(simulated_s / 3600 / took_s * 60, 1),
        "turns_violations": len(broken_turns),
        "planted": bugs if planted else 0,
        "planted_found": found,
        "reads": reads,
        "failed_reads": failed_reads,
        **totals,
    }
    print(json.dumps(report))
    return int(bool(violations or broken_turns) or (planted and found < bugs))


def _collect_rarely() -> None:
    """A seed makes a million short-lived objects and few cycles: looking for those took a tenth of the time."""
    gc.freeze()
    gc.set_threshold(200_000, 10, 10)


def _run(seed: int) -> Result:
    return run_seed(seed)[0]


def _turns(seed: int) -> tuple[int, str]:
    """A story of several pushers; which promise it broke, if it did."""
    try:
        World(seed).run()
    except BrokenPromiseError as broken:
        return seed, str(broken)
    return seed, ""


def _find_turns(number: int) -> tuple[str, int, str]:
    bug = turns.PLANTED[number]
    return bug.name, *turns.find(bug)


def _find(name: str) -> tuple[str, int, str]:
    bug = next(bug for bug in PLANTED if bug.name == name)
    seeds_needed, result = find(bug)
    return name, seeds_needed, _headline(result) if result else ""


def _headline(result: Result) -> str:
    """The violation in one line: the last line before the story."""
    return result.violation.split("\nat ")[0].strip().splitlines()[-1][:200]


if __name__ == "__main__":
    sys.exit(main())
