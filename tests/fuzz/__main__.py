"""Fuzzes every target, each in a process of its own, one after another; JSON with what was found last.

An input that ends a target is kept: its path is told, and `python -m tests.fuzz.one TARGET FILE` shows what it does.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from services.shared.python_process import python_command
from tests.fuzz.every_target import TARGETS
from tests.fuzz.targets import planted

_MEMORY_MB = 2_500
#: How lines of libFuzzer begin that tell no more than how far it is.
_PROGRESS = ("#", "INFO: ", "WARNING: ")
_DONE = re.compile(r"Done (\d+) runs in (\d+) second")


def main() -> int:
    """0: nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--executions", type=int, default=1_000, help="inputs for each target (default: 1,000)")
    parser.add_argument("--seconds", type=int, default=0, help="at most so long for each target (default: no bound)")
    parser.add_argument("--seed", type=int, default=1, help="another one tries other inputs (default: 1)")
    parser.add_argument("--kept", type=Path, default=None, help="folder of inputs that reached new code, to go on from")
    parser.add_argument("--input-seconds", type=int, default=60, help="what takes longer hangs (default: 60)")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: each")
    given = parser.parse_args()
    known = {*TARGETS, *(each.name for each in planted.TARGETS)}
    if unknown := sorted(set(given.targets) - known):
        parser.error(f"no target {', '.join(unknown)}: there are {', '.join(TARGETS)}")
    begun = time.monotonic()
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="fasttree-fuzz-") as folder:
        for name in given.targets or TARGETS:
            told[name] = _fuzzed(name, given, given.kept or Path(folder))
            print(
                f"{name}: {told[name]['executions']:,} inputs, {told[name]['finding'] or 'nothing found'}", flush=True
            )
    findings = {name: each["finding"] for name, each in told.items() if each["finding"]}
    print(
        json.dumps(
            {
                "fuzz_executions": sum(each["executions"] for each in told.values()),
                "fuzz_seconds": round(time.monotonic() - begun, 1),
                "fuzz_findings": findings,
                "fuzz_targets": {name: each["executions"] for name, each in told.items()},
            }
        )
    )
    return 1 if findings else 0


def _fuzzed(name: str, given: argparse.Namespace, kept: Path) -> dict[str, Any]:
    corpus, artifacts = kept / name, kept / "found"
    for each in (corpus, artifacts):
        each.mkdir(parents=True, exist_ok=True)
    command = [
        *python_command("tests.fuzz.one", name, str(corpus)),
        f"-runs={given.executions}",
        f"-max_total_time={given.seconds}",
        f"-seed={given.seed}",
        f"-timeout={given.input_seconds}",
        f"-rss_limit_mb={_MEMORY_MB}",
        f"-artifact_prefix={artifacts}/{name}-",
        "-print_final_stats=1",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    done = _DONE.search(ended.stderr)
    executions = int(done[1]) if done else 0
    finding = ""
    if ended.returncode or not done:
        finding = f"exit code {ended.returncode}"
        for words in (ended.stdout, ended.stderr):
            told = [line for line in words.splitlines() if line.strip() and not line.startswith(_PROGRESS)]
            print("\n".join(told[-40:]), file=sys.stderr)
    return {"executions": executions, "finding": finding}


if __name__ == "__main__":
    sys.exit(main())
