"""An evening's drill on a real cluster: `make evening`. Ten minutes or so.

A cluster with certificates, of two nodes, with its console; a Prometheus with the shipped alert rules, each of which
waits for 1 s instead of its own patience, and for a small disk in the place of a large one; a receiver of traces.
Faults come one after another (`faults.py`), each is mended again, and for each the table says after how many seconds
the page, the alerts, `fasttree status` and `fasttree doctor` told of it, in which words, and how far an order's trace
came meanwhile. Seconds of commands have their own start in them.

As root it runs in a mount namespace of its own, where the log has a small disk that is filled; else that fault is left
out.

The last line is JSON: faults, each with told (who told, each word and its seconds), trace, whole_again_s, left_out; and
patience, what each shipped rule that fired waits for by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from bench.chaos.poison import path_with_defect
from bench.cluster.cluster import ClusterError, running_cluster, wait_for
from bench.engine.genealogy import make_genealogy, write_genealogy
from bench.evening.faults import Fault, Faults
from bench.evening.table import lines_of
from bench.evening.watching import Watching
from bench.servers.collector import Collector
from bench.servers.prometheus import all_is_known, patience_of, prometheus
from fasttree.client import Client, Endpoints, Retries

#: As the console's own pages say them.
OWN_HEADER, KEY_HEADER = "X-FastTree-Console", "X-FastTree-Key"
IN_NAMESPACE = "FASTTREE_EVENING_NAMESPACE"
DISK_MB = 512
#: The rule's bound of 5 GB, on such a disk.
BOUNDS = {"5e9": "2e7"}
MEMBERS = 2_000
WAIT_S = 180.0
RESOLVED_S = 30.0


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


async def evening(folder: Path, disk: Path | None, only: str, patience_s: float) -> dict[str, Any]:
    """All of it; returns the figures of the last line."""
    os.environ["PYTHONPATH"] = path_with_defect()
    async with AsyncExitStack() as stack:
        collector = await stack.enter_async_context(Collector())
        settings = {"endpoint": collector.address, "interval_s": "0.1", "timeout_s": "1", "sample_ratio": "0"}
        arguments = ("--tls", *(f"--set=telemetry.{name}={value}" for name, value in settings.items()))
        cluster = await stack.enter_async_context(
            running_cluster(folder / "cluster", console=True, arguments=arguments)
        )
        endpoints = Endpoints.read(cluster.folder / "endpoints.json")
        client = await stack.enter_async_context(Client(endpoints, retries=Retries(timeout_s=WAIT_S)))
        member_id = await _import(client, folder)
        address = await stack.enter_async_context(prometheus(endpoints, folder / "prometheus", BOUNDS))
        alerts = await stack.enter_async_context(aiohttp.ClientSession(f"http://{address}"))
        key = (cluster.folder / "state" / "console" / "key").read_text().strip()
        console = await stack.enter_async_context(
            aiohttp.ClientSession(f"http://{endpoints.console}", headers={OWN_HEADER: "1", KEY_HEADER: key})
        )

        def spans(trace_id: bytes) -> list[tuple[str, str]]:
            found = [(resource, span) for resource, span in collector.spans if span.trace_id == trace_id]
            return [(span.name, str(resource.get("service.instance.id", ""))) for resource, span in found]

        watching = Watching(cluster, client, console, alerts, spans)
        parts = 2 + len(endpoints.nodes)
        await wait_for(
            lambda: all_is_known(alerts, parts), WAIT_S, "every part to be scraped, and every rule looked at"
        )
        await _whole(watching)
        faults = [fault for fault in Faults(cluster, client, member_id, disk).all() if only in fault.name]
        found = [await _one(fault, watching, member_id, patience_s) for fault in faults]
    fired = {alert for one in found for alert in one["told"].get("alerts", {})}
    return {"faults": found, "patience": {name: waits for name, waits in patience_of().items() if name in fired}}


async def _import(client: Client, folder: Path) -> str:
    """A tree; returns a member of it."""
    genealogy = make_genealogy(MEMBERS)
    write_genealogy(genealogy, folder / "members.csv")
    manifest = await client.upload_import(folder / "members.csv")
    _ = [status async for status in client.watch_import(manifest.import_id, patience_s=WAIT_S)]
    return str(genealogy.ids[0].decode())


async def _whole(watching: Watching) -> None:
    """Until `fasttree status` and the page have nothing to say."""

    async def is_whole() -> bool:
        return not await watching.command("status") and not await watching.page()

    await wait_for(is_whole, WAIT_S, "all to be well")


async def _resolved(watching: Watching) -> None:
    """Until no alert fires, so that each fault has its own; one that looks back over minutes is not waited for."""
    with contextlib.suppress(ClusterError):

        async def none_fires() -> bool:
            return not await watching.alerts()

        await wait_for(none_fires, RESOLVED_S, "alerts to end")


async def _one(fault: Fault, watching: Watching, member_id: str, patience_s: float) -> dict[str, Any]:
    if fault.left_out:
        say(f"{fault.name}: left out, {fault.left_out}")
        return {"fault": fault.name, "left_out": fault.left_out, "told": {}}
    say(fault.name)
    before = await watching.baseline()
    since = time.monotonic()
    await fault.inject()
    try:
        told, trace = await asyncio.gather(watching.watch(before, since, patience_s), watching.trace(member_id))
    finally:
        mended = time.monotonic()
        if fault.mend is not None:
            await fault.mend()
    one: dict[str, Any] = {
        "fault": fault.name,
        "told": {name: each.after_s for name, each in told.items()},
        "trace": trace,
    }
    if fault.mend is not None:
        try:
            await _whole(watching)
            one["whole_again_s"] = round(time.monotonic() - mended, 1)
            await _resolved(watching)
        except ClusterError as error:
            say(f"not whole again: {error}")
    say(json.dumps(one))
    return one


def enter_namespace() -> bool:
    """Starts this program again where mounts are its own, if it may; False where it may not."""
    if IN_NAMESPACE in os.environ:
        return True
    if os.geteuid() or subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return False
    os.environ[IN_NAMESPACE] = "1"
    command = ["unshare", "--mount", sys.executable, "-m", "bench.evening", *sys.argv[1:]]
    return os.execvp("unshare", command)


def main() -> None:
    """Runs, prints the table and the figures; exits 1 where a fault was told by nobody."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults with this in their name alone")
    parser.add_argument("--patience", type=float, default=60.0, help="how long a fault is watched, in seconds")
    arguments = parser.parse_args()
    has_disk = enter_namespace()
    with tempfile.TemporaryDirectory(prefix="fasttree-evening-") as name:
        folder = Path(name)
        disk = folder / "cluster" / "state" / "pusher" if has_disk else None
        if disk is not None:
            disk.mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "evening", str(disk)], check=True)
        try:
            figures = asyncio.run(evening(folder, disk, arguments.only, arguments.patience))
        except ClusterError as error:
            sys.exit(str(error))
        finally:
            if disk is not None:
                subprocess.run(["umount", "--lazy", str(disk)], check=False)
    print("\n".join(lines_of(figures["faults"])))
    print(json.dumps(figures))
    if [one for one in figures["faults"] if not one.get("left_out") and not any(one["told"].values())]:
        sys.exit(1)


if __name__ == "__main__":
    main()
