"""Pushers change over under 1,000 orders a second: `make bench-changeovers ROUNDS=20`.

Real processes, as `fasttree up --pushers 2` starts them. Each round asks for a planned switchover; then each round
kills the active pusher (SIGKILL), which `fasttree up` starts again. A pause is the longest that any order of a round
was on its way, from its push to its receipt.

The last line is JSON: pusher_switchover_ms and pusher_killed_ms (the longest pause of all rounds), the medians
of rounds beside them, refused (orders that were answered otherwise than by a position), lost and twice (of the whole
log). With --machines, each round ends a whole machine of three that has the active coordinator, the primary and the
active pusher; a pause is then the longest time without a receipt. With --nats, each round ends the server that leads
the stream with the log, of three: log_leader_lost_ms and its median are of the longest push of each round. --frozen:
what is lost says nothing any more, and none of its connections ends.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import uvloop

from bench.changeovers.log_servers import measure_log_servers
from bench.changeovers.machines import measure_machines
from bench.changeovers.measuring import measure


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20, help="of each kind")
    parser.add_argument("--machines", action="store_true", help="whole machines of three are killed instead")
    parser.add_argument("--nats", action="store_true", help="servers of NATS that hold the log are killed instead")
    parser.add_argument("--frozen", action="store_true", help="what is lost freezes: nothing of it answers or ends")
    parser.add_argument("--logs", type=Path, help="folder in which all of the cluster of machines is kept")
    arguments = parser.parse_args()
    if arguments.nats:
        servers = measure_log_servers(arguments.members, arguments.rounds, frozen=arguments.frozen)
        print(json.dumps(uvloop.run(servers)))
        return
    if arguments.machines or arguments.frozen:
        story = measure_machines(arguments.members, arguments.rounds, frozen=arguments.frozen, logs=arguments.logs)
        print(json.dumps(uvloop.run(story)))
        return
    print(json.dumps(uvloop.run(measure(arguments.members, arguments.rounds))))


if __name__ == "__main__":
    main()
