"""A real Prometheus over a real cluster, by the shipped rules with a shorter patience: quiet while all is well; a node
that is killed, and an import that is refused, are told, and nothing else is.
"""

from __future__ import annotations

from pathlib import Path

import aiohttp

from bench.cluster.cluster import running_cluster, wait_for
from bench.servers.prometheus import all_is_known, firing, prometheus
from fasttree.client import Client
from fasttree.v1 import pusher_pb2
from tests.end_to_end import busy_machine

WAIT_S = 90.0


async def firing_of_faults(session: aiohttp.ClientSession) -> dict[str, set[str]]:
    """What fires, but for what the machine does."""
    return {name: where for name, where in (await firing(session)).items() if name not in busy_machine.ALERTS}


async def test_faults_are_told_and_nothing_else(tmp_path: Path, library_csv: Path) -> None:
    async with (
        running_cluster(tmp_path / "cluster", arguments=("--no-restart",)) as cluster,
        Client.from_endpoints_file(cluster.folder / "endpoints.json") as client,
    ):
        good = await client.upload_import(library_csv)
        _ = [status async for status in client.watch_import(good.import_id, patience_s=WAIT_S)]
        await cluster.wait_ready()
        async with (
            prometheus(client.endpoints, tmp_path / "prometheus") as address,
            aiohttp.ClientSession(f"http://{address}") as session,
        ):
            await wait_for(
                lambda: all_is_known(session, 4), WAIT_S, "every part to be scraped, and every rule to be looked at"
            )
            assert await firing_of_faults(session) == {}

            bad = tmp_path / "bad.csv"
            bad.write_text("member_id,sponsor_id\nA,A\n")
            refused = await client.upload_import(bad)
            *_, last = [status async for status in client.watch_import(refused.import_id, patience_s=WAIT_S)]
            assert last.state == pusher_pb2.IMPORT_STATE_REFUSED

            async def import_told() -> bool:
                return "FastTreeImportRefused" in await firing(session)

            await wait_for(import_told, WAIT_S, "FastTreeImportRefused")
            assert set(await firing_of_faults(session)) == {"FastTreeImportRefused"}

            gone = cluster.node(cluster.node_names[-1])
            cluster.kill(gone["name"])

            async def node_told() -> bool:
                told = await firing(session)
                return told.get("FastTreeServiceDown") == {gone["http"]} and "FastTreeOneNodeLeft" in told

            await wait_for(node_told, WAIT_S, "FastTreeServiceDown and FastTreeOneNodeLeft")
            assert set(await firing_of_faults(session)) <= {
                "FastTreeImportRefused",
                "FastTreeServiceDown",
                "FastTreeOneNodeLeft",
            }
