"""A newcomer's own file gets in with one command and one mapping, which the check before it offers."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

from bench.cluster.cluster import running_cluster
from fasttree.client import Client, Endpoints
from fasttree.command.local.sample import sample_rows
from fasttree.v1 import report_pb2
from tests.command.fasttree_command import FastTree
from tests.newcomer_file import FILE_NAME, newcomer_csv


async def test_the_command_that_the_check_offers_imports_the_file(tmp_path: Path) -> None:
    rows = sample_rows()
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(running_cluster(tmp_path / "cluster"))
        endpoints = cluster.folder / "endpoints.json"
        fasttree = FastTree(tmp_path / "desk", Endpoints.read(endpoints))
        (tmp_path / "desk" / FILE_NAME).write_bytes(newcomer_csv())

        checked = await fasttree("import", "--check", FILE_NAME)
        assert checked.code == 1
        assert "DISTRIBUTOR_ID looks like member_id" in checked.out
        assert f"{FILE_NAME}: 800 rows, all good" in checked.out
        offered = shlex.split(checked.err.splitlines()[-1].partition("if that is what it means: fasttree ")[2])
        assert offered[:2] == ["import", FILE_NAME]
        assert (await fasttree(*offered, "--check")).code == 0

        imported = await fasttree(*offered, "--wait")
        assert imported.code == 0, imported.err
        client = await stack.enter_async_context(Client.from_endpoints_file(endpoints))
        found: dict[str, tuple[str, str, int]] = {}
        async for answer in client.reports.stream_downline(report_pb2.StreamDownlineRequest()):
            for member in answer.members:
                found[member.member_id] = (member.sponsor_id, member.joined_on, member.pv_hundredths)
        hundredths = [round(1_000 * float(row["pv"])) for row in rows]
        assert found == {
            row["member_id"]: (row["sponsor_id"], row["joined_on"], pv)
            for row, pv in zip(rows, hundredths, strict=True)
        }
