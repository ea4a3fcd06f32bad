"""The examples for integrators, each run as its own page says, against a real cluster."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bench.cluster.cluster import RunningCluster, running_cluster
from services.shared.serving.channels import MESSAGE_BYTES_MAX
from services.treenode.reports.limits import REQUEST_BYTES_MAX
from tests.end_to_end.go_programs import programs, tell
from tests.kubernetes.binaries import go, home

pytestmark = pytest.mark.timeout(1_800)

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/integration.md"
#: What the page's lines say, by a word of theirs.
EXPECTED = {
    " list": r"fasttree\.v1\.ReportService",
    "describe": r"rpc GetMember",
    "StreamDownline": r'"member_id"',
    "WatchImport": r"IMPORT_STATE_DONE",
    "min_position": r'"position": "[0-9]+"',
    "ghz": r"\[OK\] +200 responses",
    "GetMember": r'"member_id": "10420"',
    "Health": r'"status": "SERVING"',
    "PushUpdates": r'"update_id": "by-hand-1"',
}
MEMBER = "10420"  # of the sample tree
SAID = re.compile(
    r"pushed (example-\w+-\S+): position \d+\n"
    r"pushed again: counted once\n"
    rf"member {MEMBER}: PV \d+\.\d\d\n"
    r"downline: \d+ rows of member_id, \w+, \w+, \.\.\.\n"
    r"import \d+: IMPORT_STATE_DONE\n"
)


def kept(language: str) -> Path:
    """Where what takes long to build is kept for the next run, outside the clone, by all that it is made of."""
    made_of = [*(ROOT / "examples" / language).iterdir(), *(ROOT / "proto/fasttree/v1").glob("*.proto")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(made_of) if path.is_file()))
    folder = home().parent / "examples" / f"{language}-{digest.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def ran(language: str, made: Path, pusher: str, vip: str) -> tuple[int, str, str]:
    """The exit code, what it says, and what its libraries and builders say beside it."""
    environment = os.environ | {"EXAMPLE_FOLDER": str(made), "EXAMPLE_PYTHON": sys.executable}
    if language == "go":
        environment["PROTOC"] = f"{sys.executable} -m grpc_tools.protoc"
        environment["PATH"] = f"{Path(go(tell)).parent}:{environment['PATH']}"
    environment.pop("PYTHONPATH", None)
    process = await asyncio.create_subprocess_exec(
        ROOT / "examples" / language / "run", pusher, vip, MEMBER,
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, beside = await asyncio.wait_for(process.communicate(), 1_200)
    return process.returncode or 0, out.decode(), beside.decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCluster]:
    folder = tmp_path_factory.mktemp("cluster")
    async with running_cluster(folder, arguments=("--sample",)) as started:
        yield started


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("language", ["python", "node", "go", "java"])
async def test_each_example_does_what_it_says(tmp_path: Path, cluster: RunningCluster, language: str) -> None:
    made = kept(language) if language in ("go", "java") else tmp_path
    code, said, beside = await ran(language, made, cluster.endpoints["pusher"], cluster.endpoints["vip"])
    assert code == 0, said + beside
    assert SAID.fullmatch(said), said


def lines_of_the_page() -> list[str]:
    """What stands in its code blocks, each command on one line."""
    blocks = re.findall(r"```\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith(("grpcurl ", "ghz "))]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("line", lines_of_the_page())
async def test_each_line_of_the_page_works(cluster: RunningCluster, line: str) -> None:
    folder = await asyncio.to_thread(programs)
    command = line.replace("127.0.0.1:50100", cluster.endpoints["vip"])
    command = command.replace("127.0.0.1:50300", cluster.endpoints["pusher"]).replace("-n 10000", "-n 200")
    assert "127.0.0.1:50" not in command.replace(cluster.endpoints["vip"], "").replace(cluster.endpoints["pusher"], "")
    name, *words = shlex.split(command)
    process = await asyncio.create_subprocess_exec(
        folder / name, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    said = out.decode()
    assert process.returncode == 0, said
    expected = next(what for word, what in EXPECTED.items() if word in line)
    assert re.search(expected, said), said


def test_the_page_has_the_limits_that_servers_have() -> None:
    page = PAGE.read_text()
    assert (
        f"report port has {REQUEST_BYTES_MAX >> 20} MiB at most, a message to the pusher {MESSAGE_BYTES_MAX >> 20} MiB"
        in page
    )
