"""The DataTrax side of a real cluster: the local port, the spool and the nodes' files, while the pusher is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from pathlib import Path

import pytest

from bench.cluster.cluster import free_port, running_cluster, wait_for
from fasttree.client import Client, Endpoints
from fasttree.v1 import message_pb2
from services.shared.config.hosts_file import read_hosts_file
from tests.datatrax.orders_layout import WITH_IDS

pytestmark = pytest.mark.timeout(900)

MEMBERS = "member_id,sponsor_id,status,rank,joined_on,pv\nroot,,A,5,2020-01-01,10.00\n7,root,A,1,2021-02-03,0\n"
RECORDS = 20_000


async def test_a_company_pushes_as_it_did_in_2016(tmp_path: Path) -> None:
    datatrax, port = tmp_path / "datatrax/fasttree", free_port()
    arguments = ("--datatrax", str(datatrax), "--datatrax-port", str(port))
    datatrax.mkdir(parents=True)
    (datatrax / "channels.toml").write_text(f'[voice]\nsender = "spool"\nfolder = "{tmp_path / "voice"}"\n')
    (datatrax / "opt-outs").write_text("root\n")
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(running_cluster(tmp_path / "cluster", arguments=arguments))
        endpoints = Endpoints.read(cluster.folder / "endpoints.json")
        client = await stack.enter_async_context(Client(endpoints))
        (tmp_path / "members.csv").write_text(MEMBERS)
        manifest = await client.upload_import(tmp_path / "members.csv")
        async for status in client.watch_import(manifest.import_id):
            if status.state not in (0, 1, 2):
                break
        assert [host.report_address for host in read_hosts_file(datatrax / f"hosts.{port}")] == [
            node.report for node in endpoints.nodes
        ]

        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b'{"update_id": "line-1", "volume_posted": {"member_id": "7", "amount": "1.00"}}\n')
        receipt = json.loads(await asyncio.wait_for(reader.readline(), 60))
        assert (receipt["code"], receipt["update_id"]) == (0, "line-1")

        spool = datatrax / f"FT{port}"
        (spool / "layouts/orders.toml").write_text(WITH_IDS)
        records = "".join(f"{number:08}0000070000010\n" for number in range(RECORDS))
        (spool / "orders.1.tmp").write_text(records)
        await asyncio.sleep(2.0)  # it is seen under that name
        (spool / "orders.1.tmp").rename(spool / "orders.1")
        await wait_for_path(spool / ".taking-orders.1", spool / "done/orders.1")
        cluster.kill("pusher")
        await wait_for_path(spool / "done/orders.1")
        receipts = (spool / "done/orders.1.receipts").read_text().splitlines()
        assert [line[10:12] for line in receipts] == ["00"] * RECORDS

        async def counted() -> bool:
            member = await client.reports.get_member("7")
            return bool(member.member.pv_hundredths == 100 + RECORDS * 10)

        await wait_for(counted, 60.0, "every record's volume, once")
        last = int(receipts[-1][13:32])

        async def told() -> bool:
            files = [datatrax / f"{node.name}.{port}" for node in endpoints.nodes]
            return all(file.exists() and f"position {last}" in file.read_text() for file in files)

        await wait_for(told, 60.0, "the nodes' files of progress")

        sent = message_pb2.Message(message_id="autumn", channel="voice", template="{member_id}: {pv}")
        await client.messages.send(sent)
        await wait_for_path(tmp_path / "voice/autumn.jsonl.done")
        line = json.loads((tmp_path / "voice/autumn.jsonl").read_text())
        assert (line["key"], line["text"]) == ("autumn/7", f"7: {1 + RECORDS // 10}.00")
        writer.close()


async def wait_for_path(*paths: Path) -> None:
    """Until one of them is there."""

    async def there() -> bool:
        return any(map(os.path.lexists, paths))

    await wait_for(there, 120.0, " or ".join(map(str, paths)))
