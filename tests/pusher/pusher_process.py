"""A pusher as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import grpc
import grpc.aio

from bench.cluster.cluster import free_port
from fasttree.v1 import pusher_pb2, pusher_pb2_grpc
from services.shared.serving.channels import open_channel

DEADLINE_S = 120.0


class PusherProcess:
    """Starts, kills and starts it again, on the same port and folder."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.log = folder / "pusher.log"
        self._settings = [
            f"pusher.state_folder={folder / 'state'}",
            "pusher.listen_host=127.0.0.1",
            f"pusher.port={self.address.rpartition(':')[2]}",
            "pusher.http_port=0",
            *settings,
        ]
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    async def start(self, command: tuple[str, ...] = ()) -> None:
        """Starts it, and waits until it answers. `command` goes before the interpreter's."""
        arguments = [part for setting in self._settings for part in ("--set", setting)]
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *command, sys.executable, "-m", "services.pusher", *arguments, stdout=output, stderr=output
            )
        deadline = asyncio.get_running_loop().time() + DEADLINE_S
        while True:
            try:
                await self.get()
                return
            except grpc.aio.AioRpcError:
                assert self._process.returncode is None, self.log.read_text()
                assert asyncio.get_running_loop().time() < deadline, self.log.read_text()
                await asyncio.sleep(0.05)

    async def get(self) -> pusher_pb2.GetPusherResponse:
        """Where it stands."""
        async with open_channel(self.address) as channel:
            stub = pusher_pb2_grpc.PusherServiceStub(channel)
            return await stub.GetPusher(pusher_pb2.GetPusherRequest(), timeout=5.0)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal, and waits for the end; returns the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            os.kill(self._process.pid, number)
        return await asyncio.wait_for(self._process.wait(), DEADLINE_S)
