"""Two clusters on one host, with a port each as in 2016: one CBLDATATRAX, one folder, and nothing shared."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bench.cluster.cluster import RunningCluster, free_port, running_cluster, wait_for
from fasttree.client import Client, Endpoints, NotFoundError
from services.shared.config.hosts_file import read_hosts_file

pytestmark = pytest.mark.timeout(900)

MEMBERS = "member_id,sponsor_id,status,rank,joined_on,pv\nroot,,A,5,2020-01-01,10.00\n{member},root,A,1,2021-02-03,0\n"
ENVIRONMENT = """\
FastTree-MDIR-{name}=dot-{name}
FastTree-server-{name}=vip.example.com
FastTree-server-port-{name}={vip}
FastTree-dir-{name}=/fasttree/dot/{name}
FastTree-upload-{name}=/fasttree/upload/{name}
FastTree-enabled-primary-{name}=Y
FastTree-cluster-transfer-{name}=Y
FastTree-Instant-Push-{name}=Y
"""


class Side:
    """One of the two."""

    def __init__(self, name: str, root: Path, cluster: RunningCluster, client: Client, port: int) -> None:
        self.name, self.root, self.cluster, self.client, self.port = name, root, cluster, client, port
        self.folder = root / "datatrax/fasttree"

    async def push(self, update_id: str, member_id: str) -> dict[str, Any]:
        """One order of a hundredth at the local port; its receipt."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        order = {"update_id": update_id, "volume_posted": {"member_id": member_id, "amount": "0.01"}}
        writer.write(json.dumps(order).encode() + b"\n")
        receipt: dict[str, Any] = json.loads(await asyncio.wait_for(reader.readline(), 60))
        writer.close()
        return receipt

    async def has(self, member_id: str, hundredths: int) -> bool:
        """Whether its VIP says so."""
        try:
            return (await self.client.reports.get_member(member_id)).member.pv_hundredths == hundredths
        except NotFoundError:
            return False

    async def wait_for_volume(self, member_id: str, hundredths: int) -> None:
        async def is_so() -> bool:
            return await self.has(member_id, hundredths)

        await wait_for(is_so, 120.0, f"{member_id} with {hundredths} in {self.name}")

    async def spool(self, file: str, update_id: str, member_id: str) -> None:
        order = {"update_id": update_id, "volume_posted": {"member_id": member_id, "amount": "0.01"}}
        spool = self.folder / f"FT{self.port}"
        (spool / file).write_text(json.dumps(order) + "\n")
        (spool / f"{file}.done").touch()


@contextlib.asynccontextmanager
async def sides(tmp_path: Path) -> AsyncIterator[tuple[Side, Side]]:
    root = tmp_path / "root"
    file = root / "datatrax/fasttree/CBLDATATRAX"
    file.parent.mkdir(parents=True)
    names = ("live", "test")
    file.write_text("[FastTree]\n" + "".join(ENVIRONMENT.format(name=name, vip=free_port()) for name in names))
    async with contextlib.AsyncExitStack() as stack:

        async def side(name: str) -> Side:
            port = free_port()
            arguments = ("--datatrax", str(file.parent), "--root", str(root), "--environment", name)
            cluster = await stack.enter_async_context(
                running_cluster(tmp_path / name, arguments=(*arguments, "--datatrax-port", str(port)), vip_port=None)
            )
            endpoints = Endpoints.read(cluster.folder / "endpoints.json")
            return Side(name, root, cluster, await stack.enter_async_context(Client(endpoints)), port)

        # One after the other: each takes what the other has left.
        yield await side("live"), await side("test")


async def test_two_clusters_on_one_host_are_apart_in_everything(tmp_path: Path) -> None:
    async with sides(tmp_path) as (live, test):
        for side, member in ((live, "L7"), (test, "T7")):
            assert (await side.client.get_cluster()).name == f"dot-{side.name}-{side.name}"
            hosts = read_hosts_file(side.folder / f"hosts.{side.port}")
            assert [host.report_address for host in hosts] == [node.report for node in side.client.endpoints.nodes]
            upload = side.root / "fasttree/upload" / side.name
            (upload / "members.csv").write_text(MEMBERS.format(member=member))
            (upload / "members.csv.done").touch()
        addresses = [
            {each.vip, each.pusher, each.coordinator, *each.http.values(), *(node.report for node in each.nodes)}
            for each in (live.client.endpoints, test.client.endpoints)
        ]
        assert not addresses[0] & addresses[1]
        await live.wait_for_volume("L7", 0)
        await test.wait_for_volume("T7", 0)

        # The same ids, at both: each counts at its own.
        for side, member in ((live, "L7"), (test, "T7")):
            assert (await side.push("order-1", member))["code"] == 0
            await side.spool("orders.jsonl", "order-2", member)
        await live.wait_for_volume("L7", 2)
        await test.wait_for_volume("T7", 2)
        assert not await live.has("T7", 2)
        assert not await test.has("L7", 2)
        for side in (live, test):
            assert (side.folder / f"FT{side.port}/done/orders.jsonl").exists()
            assert (side.folder / f"n1.{side.port}").read_text().startswith("n1: ")

        # One line of the one file closes the one.
        file = live.folder / "CBLDATATRAX"
        file.write_text(file.read_text().replace("Instant-Push-live=Y", "Instant-Push-live=N"))

        async def is_closed() -> bool:
            return bool((await live.push("order-3", "L7"))["code"] == 9)

        await wait_for(is_closed, 60.0, "the port of live to be closed")
        assert (await test.push("order-3", "T7"))["code"] == 0

        # The one ends; the other goes on, and its files are there.
        await live.cluster.stop()
        assert (await test.push("order-4", "T7"))["code"] == 0
        await test.wait_for_volume("T7", 4)
        assert (await test.client.get_cluster()).primary
        assert len(read_hosts_file(test.folder / f"hosts.{test.port}")) == 2
