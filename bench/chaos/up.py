"""`fasttree up` with a link between each two parts that speak, and a socket that tells the links how to be.

    python -m bench.chaos.up --dir FOLDER --nodes 2 --vip-port PORT

One line of JSON in (`{"link": "pusher-n1", "cut": true}`), one line out (`ok`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
from pathlib import Path
from typing import Any

from bench.chaos.links import Link, LinkState
from fasttree.command.local.cluster_folder import ClusterFolder, node_names
from fasttree.command.local.free_ports import free_ports
from fasttree.command.local.parts import PUSHER, ClusterPlan
from fasttree.command.local.up import LocalCluster

PROGRAM = ("bench.chaos.up",)
CLIENT = "client"


def control_path(folder: Path) -> Path:
    """The socket of a cluster in that folder."""
    return folder / "links.sock"


class Links:
    """All links of one cluster: planned while its files are written, started before its processes."""

    def __init__(self, count: int, vip_port: int) -> None:
        # Bound from here on, so that the cluster takes no port of these; the VIP's is given, and not bound yet.
        ports = [port for port in free_ports("127.0.0.1", count + 1) if port != vip_port][:count]
        self._listeners = iter([socket.create_server(("127.0.0.1", port)) for port in ports])
        self._links: dict[str, Link] = {}

    def route(self, who: str, whom: str, address: str) -> str:
        """Where `who` reaches `whom`, which listens on `address`; called twice for a pair, it says the same."""
        name = f"{who}-{whom}"
        if name not in self._links:
            self._links[name] = Link(next(self._listeners), address)
        return self._links[name].address

    async def start(self) -> None:
        """Listens everywhere."""
        for link in self._links.values():
            await link.start()

    async def stop(self) -> None:
        for link in self._links.values():
            await link.stop()

    async def serve(self, path: Path) -> asyncio.Server:
        """Listens for commands; `links.json` beside the socket tells every link's address."""
        addresses = {name: link.address for name, link in self._links.items()}
        path.with_suffix(".json").write_text(json.dumps(addresses))
        return await asyncio.start_unix_server(self._obey, path)

    async def _obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            command: dict[str, Any] = json.loads(line)
            self._links[command.pop("link")].set(LinkState(**command))
            writer.write(b"ok\n")
            await writer.drain()
        writer.close()


async def main(folder: Path, nodes: int, vip_port: int, start_timeout_s: float) -> None:
    """Runs until SIGINT or SIGTERM."""
    home = ClusterFolder(folder)
    home.take()
    links = Links(3 * nodes + 8, vip_port)
    plan = ClusterPlan(
        home, host="127.0.0.1", vip_port=vip_port, nodes=node_names(nodes), assignments=(), route=links.route
    )
    # Every pair is asked for once, so that the links stand before the first process does.
    plan.write_files()
    list(plan.children())
    links.route(CLIENT, PUSHER, plan.endpoints(lambda part: 0).pusher)
    await links.start()
    server = await links.serve(control_path(home.path))
    try:
        await LocalCluster(home, plan, restart=True).serve(start_timeout_s)
    finally:
        server.close()
        await links.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--vip-port", type=int, required=True)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.dir, arguments.nodes, arguments.vip_port, 120.0))
