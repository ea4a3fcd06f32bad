"""The tour in README.md: reads its commands and output, runs them on a fresh cluster, and can write the output anew.

    python -m tools.tour          writes the real output into README.md

A block that begins with ```console holds commands (lines that begin with `$ `) and what each prints. The cluster is
started in `.demo` of a folder of its own, so the commands run word for word.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
#: The first start of a version on a machine compiles every kernel.
_START_S = 600.0
_STEP_S = 120.0


@dataclass
class Step:
    """One command, and what README.md says that it prints."""

    command: str
    output: str


def blocks(text: str) -> list[str]:
    """The console blocks of a page, in order, without their fences."""
    return re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _fenced(block: str) -> str:
    return f"```console\n{block}```"


def steps(block: str) -> list[Step]:
    """The commands of a block. A command may go on over lines that end with a backslash."""
    found: list[Step] = []
    continued = False
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Step(line[2:], ""))
        elif continued:
            found[-1].command += "\n" + line
        else:
            found[-1].output += line + "\n"
        continued = line.endswith("\\") and not found[-1].output
    return found


def comparable(command: str, output: str) -> list[str]:
    """Output without what differs from run to run: which node is which, digests, times, sizes; widths of columns."""
    text = re.sub(r"\b[0-9a-f]{16}\b", "DIGEST", output)
    text = re.sub(r"\bn[0-9]\b", "NODE", text)
    if re.search(r"fasttree (status|drill|switchover|verify|period (open|close))", command):
        text = re.sub(r"\d+(\.\d+)?(e\+\d+)?", "N", text)
    text = re.sub(r"position \d+ \(", "position N (", text)
    text = re.sub(r"\(\d+\.\d [MG]B\)", "(SIZE)", text)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    # A quick step of an import may be over before it is told.
    lines = [line for line in lines if not re.fullmatch(r"NODE (downloads|checks|builds|replays)", line)]
    # Nodes stand by name, and either may be primary.
    return sorted(lines) if re.search(r"fasttree (status|verify|import)", command) else lines


@contextmanager
def demo_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """What `make demo` starts, in a folder; yields the environment for the tour's commands."""
    sys.path.insert(0, str(ROOT / "client"))
    from fasttree.command.local.free_ports import free_ports

    # As in .venv/bin; made here, so that the tour also runs where the project is not installed.
    program = folder / "bin" / "fasttree"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fasttree.command "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "COLUMNS": "120"}
    environment.pop("FASTTREE_ENDPOINTS", None)
    environment["FASTTREE_CLUSTER_PERIODS"] = "2026-11"  # the month of the page, whatever today's is
    port = free_ports("127.0.0.1", 1)[0]
    command = [sys.executable, "-m", "fasttree.command", "up", "--dir", ".demo", "--sample", "--vip-port", str(port)]
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _START_S
        while not (folder / ".demo" / "endpoints.json").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the cluster did not start: {(folder / 'up.log').read_text()}")
            time.sleep(0.05)
        yield environment
    finally:
        process.send_signal(signal.SIGINT)
        if process.wait(60) != 0:
            raise AssertionError(f"fasttree up ended with {process.returncode}: {(folder / 'up.log').read_text()}")


def python_program(text: str) -> str:
    """The page's Python example as a program: what stands there is meant for inside a coroutine."""
    example = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[0]
    imports, body = example.split("\n\n", 1)
    return f"import asyncio\n{imports}\nasync def main():\n{textwrap.indent(body, '    ')}\nasyncio.run(main())\n"


def run_step(step: Step, folder: Path, environment: dict[str, str]) -> str:
    """Runs a command in a shell; returns what it printed."""
    ran = subprocess.run(
        ["bash", "-c", step.command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_STEP_S,
        check=False,
    )
    return ran.stdout.decode()


def write() -> None:
    """Puts the real output into README.md."""
    text = README.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name, demo_cluster(Path(name)) as environment:
        for block in blocks(text):
            written = ""
            for step in steps(block):
                written += f"$ {step.command}\n{run_step(step, Path(name), environment)}"
            text = text.replace(_fenced(block), _fenced(written), 1)
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
