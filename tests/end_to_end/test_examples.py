"""The examples for integrators, each run as its own page says, against a real cluster."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from bench.cluster.cluster import running_cluster
from services.shared.serving.channels import MESSAGE_BYTES_MAX
from services.treenode.reports.limits import REQUEST_BYTES_MAX

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
MEMBER = "10420"  # of the sample tree
SAID = re.compile(
    r"pushed (example-\w+-\S+): position \d+\n"
    r"pushed again: counted once\n"
    rf"member {MEMBER}: PV \d+\.\d\d\n"
    r"downline: \d+ rows of member_id, \w+, \w+, \.\.\.\n"
    r"import \d+: IMPORT_STATE_DONE\n"
)


async def ran(language: str, made: Path, pusher: str, vip: str) -> tuple[int, str]:
    """The exit code, and all that it says."""
    environment = os.environ | {"EXAMPLE_FOLDER": str(made), "EXAMPLE_PYTHON": sys.executable}
    environment.pop("PYTHONPATH", None)
    process = await asyncio.create_subprocess_exec(
        ROOT / "examples" / language / "run", pusher, vip, MEMBER,
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 600)
    return process.returncode or 0, out.decode()


async def test_each_example_does_what_it_says(tmp_path: Path) -> None:
    async with running_cluster(tmp_path / "cluster", arguments=("--sample",)) as cluster:
        pusher, vip = cluster.endpoints["pusher"], cluster.endpoints["vip"]
        for language in ("python", "node"):
            code, said = await ran(language, tmp_path / language, pusher, vip)
            assert code == 0, said
            assert SAID.fullmatch(said), said


def test_the_page_has_the_limits_that_servers_have() -> None:
    page = (ROOT / "docs/integration.md").read_text()
    assert (
        f"report port has {REQUEST_BYTES_MAX >> 20} MiB at most, a message to the pusher {MESSAGE_BYTES_MAX >> 20} MiB"
        in page
    )
