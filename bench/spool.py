"""A file of fixed-width records through the spool of a real cluster: `make bench-spool`.

One file of a million orders is renamed into the folder, and timed until its receipts lie in `done/`; then so many files
that are not whole yet lie there, and a small one that is has to be taken no later for it. The last line is JSON:
records_per_s, service_us (processor time of the service, a record), service_mb (its memory before, and at its most),
small_s and small_among_waiting_s (a file of one record, alone and among the others).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from bench.cluster.cluster import RunningCluster, cpu_s, free_port, resident_mb, running_cluster
from bench.failover import say
from fasttree.client import Client, Endpoints
from fasttree.v1 import pusher_pb2

#: What a receipt takes on a machine that has much else to do.
PATIENCE_S = 3_600.0
MEMBERS = 1_000
_LAYOUT = """\
change = "volume_posted"
[[fields]]
name = "update_id"
picture = "X(10)"
[[fields]]
name = "member_id"
picture = "9(6)"
[[fields]]
name = "amount"
picture = "S9(7)V99"
"""


class Spool:
    """The folder of one cluster."""

    def __init__(self, folder: Path, service_pid: int) -> None:
        self._folder, self._pid = folder, service_pid
        self.largest_mb = 0.0

    async def taken_s(self, name: str) -> float:
        """Gives a file that lies there under NAME.tmp its name; how long it takes until it is in `done/`."""
        await asyncio.sleep(2.0)  # it has been seen under the other one by then
        began_s = time.monotonic()
        os.rename(self._folder / f"{name}.tmp", self._folder / name)
        while not (self._folder / "done" / name).exists():
            if time.monotonic() - began_s > PATIENCE_S:
                raise SystemExit(f"{name} was not taken within {PATIENCE_S:g} s")
            self.largest_mb = max(self.largest_mb, resident_mb(self._pid))
            await asyncio.sleep(0.01)
        return time.monotonic() - began_s

    def write(self, name: str, first: int, records: int) -> None:
        """A file of orders, under NAME.tmp."""
        with (self._folder / f"{name}.tmp").open("w") as file:
            for number in range(first, first + records):
                file.write(f"{number:010}{number % MEMBERS:06}00000125{'{'}\n")


async def measure(cluster: RunningCluster, folder: Path, records: int, waiting: int) -> dict[str, float]:
    """Raises SystemExit where a file is not taken."""
    (folder / "layouts/orders.toml").write_text(_LAYOUT)
    pid = cluster.pid_of("datatrax")
    spool = Spool(folder, pid)
    spool.write("orders.first", 0, 10_000)
    await spool.taken_s("orders.first")
    before_mb, before_s = resident_mb(pid), cpu_s(pid)
    say(f"{records:,} records")
    await asyncio.to_thread(spool.write, "orders.all", 10_000, records)
    took_s = await spool.taken_s("orders.all")
    used_s = cpu_s(pid) - before_s
    lines = sum(1 for _ in (folder / "done/orders.all.receipts").open("rb"))
    if lines != records:
        raise SystemExit(f"{lines:,} receipts of {records:,} records")
    largest_mb = spool.largest_mb
    spool.write("orders.alone", 20_000 + records, 1)
    small_s = await spool.taken_s("orders.alone")
    say(f"{waiting:,} files that are not whole yet")
    for number in range(waiting):
        (folder / f"orders.{number}.part").touch()
    spool.write("orders.among", 30_000 + records, 1)
    among_s = await spool.taken_s("orders.among")
    return {
        "records": records,
        "records_per_s": round(records / took_s),
        "service_us": round(used_s / records * 1e6, 1),
        "service_mb_before": round(before_mb, 1),
        "service_mb_largest": round(largest_mb, 1),
        "waiting_files": waiting,
        "small_s": round(small_s, 3),
        "small_among_waiting_s": round(among_s, 3),
    }


async def run(records: int, waiting: int) -> dict[str, float]:
    """A cluster, its members, and the measurement."""
    with tempfile.TemporaryDirectory(prefix="fasttree-spool-") as name:
        folder, port = Path(name), free_port()
        arguments = ("--datatrax", str(folder / "fasttree"), "--datatrax-port", str(port))
        async with running_cluster(folder / "cluster", arguments=arguments, tell=say) as cluster:
            members = folder / "members.csv"
            rows = "".join(f"{number},{'' if number == 0 else 0},A,0,,0\n" for number in range(MEMBERS))
            members.write_text("member_id,sponsor_id,status,rank,joined_on,pv\n" + rows)
            async with Client(Endpoints.read(cluster.folder / "endpoints.json")) as client:
                manifest = await client.upload_import(members)
                async for status in client.watch_import(manifest.import_id):
                    if status.state == pusher_pb2.IMPORT_STATE_REFUSED:
                        raise SystemExit(f"the members were refused: {status}")
                    if status.state == pusher_pb2.IMPORT_STATE_DONE:
                        break
            return await measure(cluster, folder / "fasttree" / f"FT{port}", records, waiting)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--waiting", type=int, default=100_000)
    arguments = parser.parse_args()
    figures = asyncio.run(run(arguments.records, arguments.waiting))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
