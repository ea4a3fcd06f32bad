"""A pusher and two nodes in this process, and which files of ours are entered while something happens to them."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from fasttree.client import Client, Endpoints
from services.pusher.app import Pusher
from services.pusher.log.sqlite import SqliteLog
from services.pusher.settings import PusherSettings
from services.shared.config.sections import ClusterSettings
from tests.docs.ways import ROOT
from tests.fakes.server import CLUSTER
from tests.treenode.running_node import running_node
from tests.waiting import until

_OURS = (f"{ROOT}/services/", f"{ROOT}/client/")


class Entered:
    """Files of ours in which code runs; on every thread that begins inside of `watched`."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self._noting = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """What Python calls for every call."""
        if self._noting and event == "call" and (name := frame.f_code.co_filename).startswith(_OURS):
            path = name.removeprefix(f"{ROOT}/")
            if path not in self.paths:
                self.paths.append(path)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Nothing is noted yet."""
        before = sys.getprofile(), threading.getprofile()
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(before[0])
            threading.setprofile(before[1])

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """From here to its end."""
        # Anew: Python takes a hook away in which an exception arose, as one does near the limit of recursion, to which
        # compiling goes.
        sys.setprofile(self)
        self._noting = True
        try:
            yield
        finally:
            self._noting = False


@contextlib.asynccontextmanager
async def small_cluster(folder: Path) -> AsyncIterator[Client]:
    """Its client, once both nodes have loaded all their kernels and their streams stand."""
    async with contextlib.AsyncExitStack() as stack:
        names = ("n1", "n2")
        nodes = [await stack.enter_async_context(running_node(folder / name, name=name)) for name in names]
        ports = [[part.rpartition(":")[2] for part in (node.address.report, node.address.instant)] for node in nodes]
        hosts = folder / "hosts.50201"
        hosts.write_text("".join(f"127.0.0.1 {report} {instant}\n" for report, instant in ports))
        settings = PusherSettings.of(
            listen_host="127.0.0.1",
            port=0,
            http_port=0,
            state_folder=str(folder / "pusher"),
            drain_grace_s=1.0,
            canary_patience_s=0.1,
        )
        (folder / "pusher").mkdir()
        cluster = ClusterSettings(name=CLUSTER, hosts_file=str(hosts), periods=["2026-11", "2026-10"])
        pusher = Pusher(settings, cluster, SqliteLog(folder / "pusher").claim_alone())
        await pusher.start()
        stack.push_async_callback(pusher.stop)
        client = await stack.enter_async_context(Client(Endpoints(pusher=f"127.0.0.1:{pusher.server.port}")))
        for node in nodes:
            await node.warm.wait()
        await until(lambda: all(node.connected for node in pusher.fan_out.progress()), "the streams to both nodes")
        await until(lambda: len(pusher.fan_out.progress()) == len(nodes), "both nodes")
        yield client
