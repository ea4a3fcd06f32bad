"""examples/jobs: what systemd, cron and Kubernetes would start is started, word for word, and does its work."""

from __future__ import annotations

import asyncio
import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from fasttree.client import Endpoints
from tests.fakes.import_file import csv_of
from tests.fakes.node import FakeNode
from tests.pusher.running_pusher import running_pusher

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples/jobs"
UNIT = EXAMPLES / "fasttree-job@.service"
TIMERS = sorted(EXAMPLES.glob("*.timer"))
JOBS = {"export-transfer", "check", "verify", "prune"}
PROGRAM, FOLDER = "/opt/fasttree/bin/fasttree", "/datatrax/fasttree"


def unit(path: Path) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read_string(path.read_text())
    return parsed


@dataclass
class Host:
    """A machine with the package, a cluster, and DataTrax's folder; a file waits to be sent."""

    folder: Path
    environment: dict[str, str]

    async def sh(self, command: str) -> int:
        process = await asyncio.create_subprocess_exec("/bin/sh", "-c", command, env=self.environment)
        return await process.wait()

    @property
    def is_sent(self) -> bool:
        return (self.folder / "FT50201/outgoing/sent/members.csv").exists()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    folder, programs = tmp_path / "datatrax", tmp_path / "bin"
    (folder / "FT50201/outgoing").mkdir(parents=True)
    (folder / "FT50201/outgoing/members.csv").write_bytes(csv_of([("a", "", "1.00")]))
    (folder / "FT50201/outgoing/members.csv.done").write_bytes(b"")
    programs.mkdir()
    program = programs / "fasttree"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m fasttree.command "$@"\n')
    program.chmod(0o755)
    node = await FakeNode("n1").start()
    async with running_pusher(tmp_path, [node]) as pusher:
        address = f"127.0.0.1:{pusher.server.port}"
        Endpoints(pusher=address, vip=address).write(tmp_path / "endpoints.json")
        environment = {
            **os.environ,
            "FASTTREE_ENDPOINTS": str(tmp_path / "endpoints.json"),
            "FASTTREE_DATATRAX": str(folder),
            "PATH": f"{programs}:{os.environ['PATH']}",
        }
        yield Host(folder, environment)
    await node.stop()


def test_systemd_takes_the_units() -> None:
    program = shutil.which("systemd-analyze")
    if program is not None:  # where there is no systemd, nobody has units either
        checked = subprocess.run(
            [program, "verify", "--man=no", str(UNIT), *map(str, TIMERS)], capture_output=True, text=True
        )
        told = [line for line in checked.stderr.splitlines() if PROGRAM not in line and str(EXAMPLES) in line]
        assert told == []
    assert {unit(each)["Timer"]["Unit"] for each in TIMERS} == {f"fasttree-job@{job}.service" for job in JOBS}
    service = unit(UNIT)["Service"]
    assert (service["Type"], service["SuccessExitStatus"]) == ("oneshot", "75")


async def test_what_the_unit_starts_does_the_job(host: Host) -> None:
    words = unit(UNIT)["Service"]["ExecStart"]
    assert words.startswith(PROGRAM)
    command = words.replace(PROGRAM, "fasttree").replace("%i", "export-transfer").replace(FOLDER, str(host.folder))
    assert await host.sh(command) == 0
    assert host.is_sent


async def test_crons_lines_do_their_jobs(host: Host) -> None:
    lines = re.findall(r"^(?:\S+ ){5}(.+)$", (EXAMPLES / "crontab").read_text().partition("PATH=")[2], re.MULTILINE)
    by_job = {line.split()[3]: line for line in lines}
    assert set(by_job) == JOBS
    assert all("%" not in line for line in lines), "cron makes a line's end of it"
    assert await host.sh(by_job["export-transfer"]) == 0
    assert host.is_sent
    assert await host.sh(by_job["prune"]) == 0
    assert await host.sh(by_job["check"]) == 1, "no host file is there"
    assert await host.sh(by_job["verify"]) == 1, "the endpoints name no nodes"


async def test_what_kubernetes_starts_does_the_job(host: Host) -> None:
    cron_job = yaml.safe_load((ROOT / "deploy/k8s/examples/datatrax-jobs.yaml").read_text())
    assert cron_job["spec"]["concurrencyPolicy"] == "Forbid"
    (container,) = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    words = [*container["command"], *container["args"]]
    assert FOLDER in words
    command = " ".join(str(host.folder) if word == FOLDER else word for word in words)
    assert await host.sh(command) == 0
    assert host.is_sent
