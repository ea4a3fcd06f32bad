"""A cluster's VIP whose connections last for a second."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from bench.cluster.cluster import RunningCluster, free_port
from fasttree.client import Endpoints
from tests.vip.fronts import envoy_program


@contextlib.asynccontextmanager
async def brief_envoy(cluster: RunningCluster, folder: Path) -> AsyncIterator[str]:
    """The cluster's own VIP once more, by the same files, but with connections that last for a second; its address."""
    vip, port = Endpoints.read(cluster.folder / "endpoints.json").vip.rpartition(":")[2], free_port()
    text, file = (cluster.folder / "envoy.yaml").read_text(), folder / "envoy.yaml"
    for before, after in (
        (f"port_value: {vip}}}", f"port_value: {port}}}"),
        ("max_connection_duration: 30s", "max_connection_duration: 1s"),
        (str(cluster.folder / "vip-admin.sock"), str(folder / "admin.sock")),
    ):
        assert before in text
        text = text.replace(before, after)
    file.write_text(text)
    options = ("--concurrency", "1", "--disable-hot-restart", "--service-node", "vip", "--service-cluster", "fasttree")
    process = await asyncio.create_subprocess_exec(envoy_program(), "--config-path", str(file), *options)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()
