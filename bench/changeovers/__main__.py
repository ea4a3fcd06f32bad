"""Pushers change over under 1,000 orders a second: `make bench-changeovers ROUNDS=20`.

Real processes, as `fasttree up --pushers 2` starts them. Each round asks for a planned switchover; then each round
kills the active pusher (SIGKILL), which `fasttree up` starts again. A pause is the longest that any order of a round
was on its way, from its push to its receipt.

The last line is JSON: pusher_switchover_ms and pusher_killed_ms (the longest pause of all rounds), the medians
of rounds beside them, refused (orders that were answered otherwise than by a position), lost and twice (of the whole
log).
"""

from __future__ import annotations

import argparse
import json

import uvloop

from bench.changeovers.measuring import measure


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20, help="of each kind")
    arguments = parser.parse_args()
    print(json.dumps(uvloop.run(measure(arguments.members, arguments.rounds))))


if __name__ == "__main__":
    main()
