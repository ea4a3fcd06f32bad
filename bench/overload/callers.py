"""What the limits of callers cost each call: `python -m bench.overload.callers`.

The last line is JSON: microseconds of a processor for one call that is let in and ends, by how its caller is known; the
best of the rounds.
"""

from __future__ import annotations

import argparse
import json
import time

from services.shared.security.caller import Caller
from services.shared.serving.callers.counting import Callers
from services.shared.serving.callers.settings import CallerSettings

_ROUNDS = 7
_PATH, _PEER = b"/fasttree.v1.ReportService/GetMember", "ipv4:10.0.0.7:40000"


def call_us(caller: Caller | None, calls: int) -> float:
    """One call's share."""
    callers = Callers(CallerSettings(caller_calls_per_s=10_000_000.0), "treenode")
    taken = []
    for _ in range(_ROUNDS):
        begun_s = time.process_time()
        for _ in range(calls):
            if (counted := callers.begin(caller, _PEER, _PATH, False)) is not None:
                callers.end(counted)
        taken.append(time.process_time() - begun_s)
    return min(taken) / calls * 1e6


def main() -> None:
    """Measures each kind of caller."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200_000)
    calls = parser.parse_args().calls
    named = Caller(("spiffe://dot-live/reporter/web",))
    print(json.dumps({"named_us": round(call_us(named, calls), 3), "address_us": round(call_us(None, calls), 3)}))


if __name__ == "__main__":
    main()
