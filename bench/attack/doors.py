"""One attack in a process of its own, so that its work is not the judge's: `python -m bench.attack.doors NAME FOLDER`.

The last line says what it saw; exit code 1 where it was not held off.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import grpc.aio

from bench.attack import extremes, files, floods, heartbeats, levels, pushes, reports
from bench.attack.target import Attack, NotHeldOffError, Target

ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for room in (reports, heartbeats, pushes, extremes, floods, files, levels)
    for attack in room.ATTACKS
}


async def _run(attack: Attack, target: Target) -> str:
    try:
        return await attack(target)
    except grpc.aio.AioRpcError as error:
        raise NotHeldOffError(f"a call ended with {error.code().name}: {(error.details() or '')[:200]}") from None


def main() -> None:
    """Runs one attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=ATTACKS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--members", type=int, required=True)
    arguments = parser.parse_args()
    target = Target(arguments.folder, arguments.scale, arguments.members)
    try:
        print(asyncio.run(_run(ATTACKS[arguments.name], target)))
    except NotHeldOffError as error:
        print(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
