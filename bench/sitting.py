"""How a program that measures a number of members is run."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any


def measure(told: str, run: Callable[[int, Path], Awaitable[dict[str, Any]]]) -> int:
    """Has as many members measured, in a folder, as the arguments say; the figures are one line of JSON."""
    parser = argparse.ArgumentParser(description=told, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=1_000_000)
    asked = parser.parse_args()

    async def measured(folder: Path) -> dict[str, Any]:
        return await run(asked.members, folder)

    with tempfile.TemporaryDirectory(prefix="fasttree-bench-") as name:
        figures = asyncio.run(measured(Path(name)))
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0
