"""The node as a process: it starts from the command line, and ends on SIGTERM with its state on disk."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from fasttree.v1 import treenode_pb2, treenode_pb2_grpc
from services.shared.rules import rules_message
from services.shared.serving.channels import open_channel
from tests.fakes.pusher import FOUNDING, FakePusher, fake_pusher
from tests.updates import enrolled

ROOT = Path(__file__).parents[2]
START_S = 150.0
PROGRAM = ("-m", "services.treenode")
#: The same with a thread that tells, all the while, whether garbage is looked for, and how many objects never are.
TELLS_OF_GARBAGE = """
import gc, sys, threading, time
from services.treenode.__main__ import main

def tell():
    while True:
        print("garbage", gc.isenabled(), gc.get_freeze_count(), file=sys.stderr, flush=True)
        time.sleep(0.1)

gc.disable()
threading.Thread(target=tell, daemon=True).start()
main()
"""


class Process:
    """`python -m services.treenode` on free ports."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.instant = ""
        self.said: list[str] = []

    @classmethod
    async def started(cls, folder: Path, *more: str, program: tuple[str, ...] = PROGRAM) -> "Process":
        assignments = [f"state_folder={folder}", "name=n1", "listen_host=127.0.0.1", "drain_notice_s=0.05", *more]
        assignments += ["report_port=0", "instant_port=0", "http_port=0"]
        arguments = [word for assignment in assignments for word in ("--set", f"treenode.{assignment}")]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *program, *arguments, cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        return cls(process)

    async def until_said(self, pattern: str) -> re.Match[str]:
        assert self.process.stderr is not None
        async with asyncio.timeout(START_S):
            async for line in self.process.stderr:
                self.said.append(line.decode())
                if match := re.search(pattern, self.said[-1]):
                    return match
        raise AssertionError(f"never said {pattern}: {self.said}")

    async def serving(self) -> None:
        self.instant = (await self.until_said(r"instant on (\S+),"))[1]

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        assert self.process.stderr is not None
        self.said.append((await asyncio.wait_for(self.process.stderr.read(), START_S)).decode())
        return await self.process.wait()


async def fed(process: Process, pusher: FakePusher) -> int:
    """Sends the whole log; returns the position that the node then has."""
    async with open_channel(process.instant) as channel:
        call = treenode_pb2_grpc.TreeNodeServiceStub(channel).ApplyUpdates()
        hello = treenode_pb2.PusherHello(
            cluster="dot-live", log_id=pusher.log_id, founding_rules=rules_message(FOUNDING)
        )
        await call.write(treenode_pb2.ApplyUpdatesRequest(hello=hello, log_end=pusher.log_end()))
        answer = await call.read()
        assert isinstance(answer, treenode_pb2.ApplyUpdatesResponse)
        records = [pusher.record(position + 1) for position in range(answer.status.position, len(pusher.updates))]
        await call.write(treenode_pb2.ApplyUpdatesRequest(records=records, log_end=pusher.log_end()))
        answer = await call.read()
        assert isinstance(answer, treenode_pb2.ApplyUpdatesResponse)
        call.cancel()
        return answer.applied_position


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_node_that_is_asked_to_end_saves_its_state_and_exits_with_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with fake_pusher() as pusher:
        pusher.updates = [enrolled(f"M{count}") for count in range(500)]
        process = await Process.started(tmp_path)
        await process.serving()
        assert await fed(process, pusher) == 500
        # From then on garbage is looked for again.
        await process.until_said("every kernel is loaded")
        assert await process.end(number) == 0
        assert (tmp_path / "snapshots" / "0-500.snapshot").exists()
        again = await Process.started(tmp_path)
        await again.until_said("starts from its snapshot: import 0, position 500")
        await again.serving()
        # A kill loses what came after the snapshot on this node's disk, and nothing more.
        pusher.updates += [enrolled("late")]
        assert await fed(again, pusher) == 501
        assert await again.end(signal.SIGKILL) == -signal.SIGKILL
        assert sorted(path.name for path in (tmp_path / "snapshots").glob("*.snapshot")) == ["0-500.snapshot"]


async def test_why_a_node_can_not_start_is_told_in_one_line(tmp_path: Path) -> None:
    first = await Process.started(tmp_path)
    await first.serving()
    for more, said in (
        ("name=n2", f"in use by process {first.process.pid}"),
        ("snapshots_kept=1", "snapshots_kept=1: must be a whole number from 2 to"),
        ("instant_prot=1", "has no field instant_prot; did you mean instant_port?"),
    ):
        other = await Process.started(tmp_path, more)
        assert other.process.stderr is not None
        text = (await asyncio.wait_for(other.process.stderr.read(), START_S)).decode()
        assert await other.process.wait() == 1
        assert said in text
        assert text.startswith("error: treenode: ")
        assert text.count("\n") == 1
    assert await first.end(signal.SIGTERM) == 0
    assert os.listdir(tmp_path)


async def test_garbage_is_looked_for_once_the_node_is_ready_and_warm(tmp_path: Path) -> None:
    async with fake_pusher() as pusher:
        process = await Process.started(tmp_path, program=("-c", TELLS_OF_GARBAGE))
        await process.serving()
        assert not [line for line in process.said if line.startswith("garbage True")]
        assert await fed(process, pusher) == 0
        await process.until_said("CATCHING_UP, is PASSIVE")
        frozen = int((await process.until_said(r"garbage True (\d+)"))[1])
        assert frozen > 100_000  # the modules of the whole process
        assert await process.end(signal.SIGTERM) == 0
