"""The configuration that the papers of 2016 print, as it stands there, runs a cluster: a company has its day on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bench.cluster.cluster import RunningCluster, free_port, running_cluster, wait_for
from fasttree.client import Client, Endpoints, NotFoundError
from fasttree.command.local.free_ports import is_free
from fasttree.command.processes import python_command

pytestmark = pytest.mark.timeout(900)

SAMPLE = Path(__file__).parents[1] / "datatrax/CBLDATATRAX.2016"
#: The file's own.
VIP_PORT, INSTANT_PORT = 50100, 50201
MEMBERS = "member_id,sponsor_id,status,rank,joined_on,pv\nroot,,A,5,2020-01-01,10.00\n7,root,A,1,2021-02-03,0\n"
ORDERS = 400


class Day:
    """A cluster by the sample, below a folder that stands for `/`."""

    def __init__(self, cluster: RunningCluster, client: Client, root: Path, port: int) -> None:
        self.cluster, self.client, self.root, self.port = cluster, client, root, port
        #: Receipts so far, and the newest position among them.
        self.taken = self.position = 0

    async def push_orders(self, first: int, count: int) -> None:
        """As a program of 2016: a line, its receipt, the next line; what was not taken for certain again."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for number in range(first, first + count):
            code = -1
            while code != 0:
                writer.write(
                    b'{"update_id": "order-%d", "volume_posted": {"member_id": "7", "amount": "0.01"}}\n' % number
                )
                receipt = json.loads(await asyncio.wait_for(reader.readline(), 60))
                code = receipt["code"]
                assert code in (0, 14), receipt
            self.taken += 1
            self.position = max(self.position, receipt["position"])
        writer.close()

    async def checks(self) -> list[str]:
        """What `fasttree datatrax check` finds wrong."""
        words = ["datatrax", "check", str(self.root / "datatrax/fasttree"), "--root", str(self.root), "--json"]
        words += ["--port", str(self.port), "--endpoints", str(self.cluster.folder / "endpoints.json")]
        command = python_command("fasttree.command", *words)
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        content = json.loads(output)
        assert len(content["checks"]) > 20
        assert content["good"] == (process.returncode == 0)
        return [f"{each['what']}: {each['said']}" for each in content["checks"] if not each["good"]]

    async def page(self, path: str) -> list[str]:
        """Lines of a page of the DataTrax host, as in a browser."""
        async with aiohttp.ClientSession() as session, session.get(self._url(path)) as response:
            assert response.status == 200
            return (await response.text()).splitlines()

    async def follow(self, path: str, lines: list[str]) -> None:
        """The lines as they come, on and on."""
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self._url(path)) as response:
            async for line in response.content:
                lines += [line.decode().rstrip()]

    def _url(self, path: str) -> str:
        return f"http://{self.client.endpoints.http['datatrax']}{path}"

    async def wait_for_volume(self, hundredths: int, what: str) -> None:
        """Until the VIP's port answers so."""

        async def is_so() -> bool:
            try:
                return (await self.client.reports.get_member("7")).member.pv_hundredths == hundredths
            except NotFoundError:
                return False

        await wait_for(is_so, 120.0, what)


@contextlib.asynccontextmanager
async def day(tmp_path: Path) -> AsyncIterator[Day]:
    """The file's own ports, where nobody on this machine has them."""
    root = tmp_path / "root"
    datatrax = root / "datatrax/fasttree"
    datatrax.mkdir(parents=True)
    (datatrax / "CBLDATATRAX").write_bytes(SAMPLE.read_bytes())
    vip_port = None if is_free("127.0.0.1", VIP_PORT) else free_port()
    port = INSTANT_PORT if is_free("127.0.0.1", INSTANT_PORT) else free_port()
    arguments: tuple[str, ...] = ("--datatrax", str(datatrax), "--root", str(root))
    if port != INSTANT_PORT:
        arguments += ("--datatrax-port", str(port))
    async with running_cluster(tmp_path / "cluster", arguments=arguments, vip_port=vip_port) as cluster:
        endpoints = Endpoints.read(cluster.folder / "endpoints.json")
        assert endpoints.vip == f"127.0.0.1:{vip_port or VIP_PORT}"
        async with Client(endpoints) as client:
            yield Day(cluster, client, root, port)


async def test_the_sample_of_2016_runs_a_cluster_of_two_nodes_end_to_end(tmp_path: Path) -> None:
    async with day(tmp_path) as run:
        cluster, client = run.cluster, run.client
        assert (await client.get_cluster()).name == "dot-pre-test"
        assert (run.root / "fasttree/dot/pre/treenode/n2/lock").exists()
        assert (run.root / f"datatrax/fasttree/hosts.{run.port}").exists()

        upload = run.root / "fasttree/upload"
        (upload / "members.csv.tmp").write_text(MEMBERS)
        await asyncio.sleep(2.0)  # it is seen under that name
        (upload / "members.csv.tmp").rename(upload / "members.csv")
        await run.wait_for_volume(0, "the import")

        assert {line.split()[0] for line in await run.page("/debug/mtree.log")} == {"n1", "n2"}
        echo: list[str] = []
        echoing = asyncio.create_task(run.follow("/debug.txt", echo))
        assert await run.checks() == []
        orders = asyncio.create_task(run.push_orders(0, ORDERS))

        async def are_under_way() -> bool:
            return run.taken >= ORDERS / 4

        await wait_for(are_under_way, 60.0, "orders under way")
        primary = (await client.get_cluster()).primary
        cluster.kill(primary)
        assert not orders.done()
        await orders
        await run.wait_for_volume(ORDERS, "each order once, at the VIP")
        await run.push_orders(0, 10)  # a program that was started twice
        await run.push_orders(ORDERS, 10)
        await run.wait_for_volume(ORDERS + 10, "each order once, at the VIP")

        async def all_equal() -> bool:
            nodes = [node.name for node in Endpoints.read(cluster.folder / "endpoints.json").nodes]
            digests = [await cluster.digest(name, run.position) for name in nodes]
            return len(digests) == 2 and len({digest.digest for digest in digests}) == 1

        await wait_for(all_equal, 120.0, "both nodes with the same, the killed one among them")
        assert (await client.get_cluster()).primary not in ("", primary)

        async def are_told() -> bool:
            # The killed node is followed again some time after it is back; what it took before is not said again.
            await run.push_orders(10_000 + len(echo), 1)
            pushed = await run.page("/debug/hpushup.log?lines=10000")
            return all(
                any(re.match(rf"{name} .*order-1[0-9]{{4}} volume 7 \+0\.01 applied", line) for line in lines)
                for name in ("n1", "n2")
                for lines in (pushed, echo)
            )

        await wait_for(are_told, 60.0, "the orders in both nodes' logs, and echoed")
        echoing.cancel()
        await asyncio.gather(echoing, return_exceptions=True)
