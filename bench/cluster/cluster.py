"""A whole cluster on this machine, as `fasttree up` starts it: for benches, chaos and end-to-end tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from fasttree.client import Endpoints
from fasttree.client.calls.channels import Channels
from fasttree.client.calls.tls import TlsFiles
from fasttree.command.local.free_ports import free_ports
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc, pusher_pb2, pusher_pb2_grpc, treenode_pb2_grpc
from fasttree.v1.treenode_pb2 import GetDigestRequest, GetDigestResponse, GetNodeRequest, GetNodeResponse

#: A first start compiles the kernels: minutes of processor time on a busy machine.
START_TIMEOUT_S = 600.0
FASTTREE_UP = ("fasttree.command", "up")
POLL_S = 0.02
#: A cluster is at rest when each process uses less than this share of a processor, over so many seconds: heartbeats and
#: health checks take some, of each process, however many there are.
REST_S = 1.0
REST_SHARE = 0.05


class ClusterError(Exception):
    """The cluster did not come to where it should be; says what it was like instead."""


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now, and that no outgoing connection is given."""
    return next(iter(free_ports("127.0.0.1", 1)))


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that live."""
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, in seconds; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Resident memory of a process; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0.0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def wait_for(condition: Callable[[], Awaitable[Any]], timeout_s: float, what: str) -> Any:
    """Asks again and again until the answer is true; returns it.

    A call that fails because a server is away counts as not yet.

    Raises:
        ClusterError: Not within `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = await condition()
            if last:
                return last
        except grpc.aio.AioRpcError as error:
            last = f"{error.code().name}: {error.details()}"
        await asyncio.sleep(POLL_S)
    raise ClusterError(f"waited {timeout_s:.0f} s for {what}; last answer: {last}")


class RunningCluster:
    """A running `fasttree up`, driven from outside.

    Attributes:
        folder: The cluster's state.
        log: What `up` and all its processes wrote.
    """

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, log: Path) -> None:
        self._process = process
        self.folder = folder
        self.log = log
        self._opened: Channels | None = None

    @classmethod
    async def start(
        cls,
        folder: Path,
        *,
        nodes: int | None = 2,
        arguments: tuple[str, ...] = (),
        program: tuple[str, ...] = FASTTREE_UP,
        vip_port: int | None = 0,
        console: bool = False,
        tell: Callable[[str], None] = lambda line: None,
    ) -> RunningCluster:
        """Starts a cluster and waits until it is ready. `program`: a module with its first arguments; `vip_port`: 0 for
        a free one; None, here and for `nodes`, is what the command takes by itself; `console`: with the pages for a
        browser; `tell` gets what it says until then, line by line.

        Raises:
            ClusterError: It did not start; with the end of its log.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "endpoints.json").unlink(missing_ok=True)
        log = folder / "up.log"
        command = [sys.executable, "-m", *program, "--dir", str(folder)]
        if nodes is not None:
            command += ["--nodes", str(nodes)]
        if vip_port is not None:
            command += ["--vip-port", str(vip_port or free_port())]
        if program == FASTTREE_UP and not console:
            command += ["--no-console"]
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(*command, *arguments, stdout=output, stderr=output)
        cluster = cls(process, folder, log)
        deadline = time.monotonic() + START_TIMEOUT_S
        told = 0
        while not (folder / "endpoints.json").exists():
            lines = log.read_text().splitlines(keepends=True)
            for line in lines[told:]:
                if line.endswith("\n"):
                    tell(line.rstrip())
                    told += 1
            if process.returncode is not None or time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                raise ClusterError(f"the cluster did not start; {log} ends with:\n{log.read_text()[-3000:]}")
            await asyncio.sleep(POLL_S)
        return cluster

    @property
    def pid(self) -> int:
        """Process id of `fasttree up` itself."""
        return self._process.pid

    @property
    def endpoints(self) -> dict[str, Any]:
        """What endpoints.json says now."""
        content: dict[str, Any] = json.loads((self.folder / "endpoints.json").read_text())
        return content

    def node(self, name: str) -> dict[str, Any]:
        """One node's entry of endpoints.json."""
        entry: dict[str, Any] = next(node for node in self.endpoints["nodes"] if node["name"] == name)
        return entry

    @property
    def node_names(self) -> list[str]:
        """In the order of endpoints.json."""
        return [node["name"] for node in self.endpoints["nodes"]]

    def pid_of(self, part: str) -> int:
        """Process id of "coordinator", "pusher", "vip", or a node."""
        endpoints = self.endpoints
        return int(endpoints["pids"][part] if part in endpoints["pids"] else self.node(part)["pid"])

    def kill(self, part: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Sends a signal to one process; returns its id."""
        pid = self.pid_of(part)
        os.kill(pid, number)
        return pid

    def channel(self, address: str) -> grpc.aio.Channel:
        """A channel to an address, opened once; as endpoints.json says, by TLS or in clear."""
        if self._opened is None:
            endpoints = Endpoints.read(self.folder / "endpoints.json")
            self._opened = Channels(endpoints.tls, endpoints.token)
        return self._opened.to(address)

    def tls_of(self, role: str) -> TlsFiles | None:
        """The certificate of a client with that role; None where there are none."""
        return TlsFiles.in_folder(self.folder / "certs" / f"client-{role}") if "tls" in self.endpoints else None

    async def cluster(self) -> coordinator_pb2.Cluster:
        """The cluster as the coordinator sees it."""
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(self.channel(self.endpoints["coordinator"]))
        return (await stub.GetCluster(coordinator_pb2.GetClusterRequest(), timeout=5)).cluster

    async def pusher(self) -> pusher_pb2.GetPusherResponse:
        """Where the pusher stands."""
        stub = pusher_pb2_grpc.PusherServiceStub(self.channel(self.endpoints["pusher"]))
        return await stub.GetPusher(pusher_pb2.GetPusherRequest(), timeout=5)

    async def node_status(self, name: str) -> GetNodeResponse:
        """Where a node stands, by its own word."""
        stub = treenode_pb2_grpc.TreeNodeServiceStub(self.channel(self.node(name)["instant"]))
        return await stub.GetNode(GetNodeRequest(), timeout=5)

    async def digest(self, name: str, position: int) -> GetDigestResponse:
        """A node's digest at a position."""
        stub = treenode_pb2_grpc.TreeNodeServiceStub(self.channel(self.node(name)["instant"]))
        return await stub.GetDigest(GetDigestRequest(position=position), timeout=30)

    async def wait_primary(self, *, other_than: str = "", timeout_s: float = 30.0) -> str:
        """Waits for a primary (another one than the named); returns its name."""

        async def elected() -> str:
            primary = (await self.cluster()).primary
            return primary if primary != other_than else ""

        return str(await wait_for(elected, timeout_s, f"a primary other than {other_than or 'none'}"))

    async def wait_at_rest(self, *, timeout_s: float = 120.0) -> None:
        """Waits until nobody works any more: a service that has just started, or taken an import, still gets ready."""
        used_s: dict[int, float] = {}

        async def at_rest() -> bool:
            nonlocal used_s
            await asyncio.sleep(REST_S)
            services = children_of(self.pid)
            helpers = [child for service in services for child in children_of(service)]
            before_s, used_s = used_s, {pid: cpu_s(pid) for pid in (*services, *helpers)}
            return all(used_s[pid] - before_s.get(pid, 0.0) < REST_SHARE * REST_S for pid in used_s)

        await wait_for(at_rest, timeout_s, "the cluster to be at rest")

    async def wait_ready(self, *, timeout_s: float = 60.0) -> None:
        """Waits until every node is ready and one of them primary."""
        ready = (coordinator_pb2.NODE_STATE_PASSIVE, coordinator_pb2.NODE_STATE_PRIMARY)

        # The nodes' own word: the coordinator takes a dead one for alive until its lease runs out.
        async def all_ready() -> bool:
            for name in self.node_names:
                if (await self.node_status(name)).status.state not in ready:
                    return False
            return bool((await self.cluster()).primary)

        await wait_for(all_ready, timeout_s, "every node to be ready")

    async def wait_applied(self, position: int, *, import_id: int = 0, timeout_s: float = 60.0) -> None:
        """Waits until every node has applied a position, on an import (or a later one)."""

        async def all_there() -> bool:
            answers = [(await self.node_status(name)).status for name in self.node_names]
            return all(answer.position >= position and answer.import_id >= import_id for answer in answers)

        await wait_for(all_there, timeout_s, f"every node at position {position} of import {import_id}")

    async def close_channels(self) -> None:
        """Closes what `channel` opened."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def stop(self, timeout_s: float = 60.0) -> int:
        """Ctrl-C, then waits; returns the exit code."""
        await self.close_channels()
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
        return await asyncio.wait_for(self._process.wait(), timeout_s)


@contextlib.asynccontextmanager
async def running_cluster(
    folder: Path,
    *,
    nodes: int | None = 2,
    arguments: tuple[str, ...] = (),
    program: tuple[str, ...] = FASTTREE_UP,
    vip_port: int | None = 0,
    console: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> AsyncIterator[RunningCluster]:
    """A cluster for the length of a `with` block, as `RunningCluster.start`; ended whatever happens in it."""
    cluster = await RunningCluster.start(
        folder, nodes=nodes, arguments=arguments, program=program, vip_port=vip_port, console=console, tell=tell
    )
    try:
        yield cluster
    finally:
        await cluster.stop()
