"""The commands of docs/kubernetes.md, word for word."""

from __future__ import annotations

import re
import subprocess

from tests.kubernetes.real.deployed import ROOT
from tests.kubernetes.real.waiting import WAIT_S

PAGE = (ROOT / "docs/kubernetes.md").read_text()


def run(command: str, **replaced: str) -> str:
    """What a command of the page prints; `replaced`: what a reader puts in the place of a word of it."""
    assert re.search(rf"^(.*`)?{re.escape(command)}(`.*)?$", PAGE, re.MULTILINE), f"the page has no command {command}"
    for word, by in replaced.items():
        command = command.replace(word, by)
    ran = subprocess.run(
        ["bash", "-euc", command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=WAIT_S
    )
    assert ran.returncode == 0, f"{command}: {ran.stderr or ran.stdout}"
    return ran.stdout
