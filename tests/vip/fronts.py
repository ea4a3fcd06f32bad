"""Real Envoy and real HAProxy, from the shipped files, in front of a running cluster's nodes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import envoy
import grpc.aio

from bench.cluster.cluster import RunningCluster, free_port
from fasttree.command.local.vip import render_envoy, render_haproxy

#: HAProxy can't retry on a gRPC status, so its clients do; Envoy's need not.
RETRY_POLICY = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": "fasttree.v1.ReportService"}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "0.5s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "UNKNOWN"],
                },
            }
        ]
    }
)


def envoy_program() -> str:
    """Envoy from its wheel."""
    return str(Path(envoy.__file__).parent / "_bin" / "envoy")


def haproxy_program() -> str:
    """Debian's HAProxy, which is often not on a user's PATH."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert program, "haproxy is missing: apt-get install haproxy"
    return program


def configuration(kind: str, cluster: RunningCluster, port: int, admin: Path) -> str:
    """The shipped file with this cluster's nodes."""
    nodes = cluster.endpoints["nodes"]
    if kind == "envoy":
        return render_envoy([node["report"] for node in nodes], port, admin)
    return render_haproxy([(node["report"], node["http"]) for node in nodes], port)


@contextlib.asynccontextmanager
async def front(kind: str, cluster: RunningCluster, folder: Path) -> AsyncIterator[str]:
    """A VIP of its own for the length of a `with` block; yields its address."""
    port = free_port()
    if kind == "envoy":
        path = folder / "envoy.yaml"
        command = [envoy_program(), "--config-path", str(path), "--concurrency", "1", "--disable-hot-restart"]
    else:
        path = folder / "haproxy.cfg"
        command = [haproxy_program(), "-db", "-f", str(path)]
    path.write_text(configuration(kind, cluster, port, folder / "admin.sock"))
    with (folder / f"{kind}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        yield f"127.0.0.1:{port}"
        assert process.returncode is None, (folder / f"{kind}.log").read_text()[-3000:]
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def read_channel(kind: str, address: str) -> grpc.aio.Channel:
    """A channel for reads, with retries of its own only where the VIP can't do them."""
    options = [("grpc.service_config", RETRY_POLICY)] if kind == "haproxy" else [("grpc.enable_retries", 0)]
    return grpc.aio.insecure_channel(address, options=options)
