"""The main job on input that every machine has: import it, and every total is what a plain walk says, everywhere."""

from __future__ import annotations

import contextlib
from pathlib import Path

from bench.cluster.cluster import running_cluster
from bench.cluster.judge import differing_nodes, judge_log, replay
from fasttree.client import Client
from fasttree.v1 import pusher_pb2, report_pb2
from tests.end_to_end.library_tree import LibraryTree, Totals


async def test_every_total_is_right_on_each_node_and_through_the_vip(
    library: LibraryTree, library_csv: Path, tmp_path: Path
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(running_cluster(tmp_path / "cluster"))
        client = await stack.enter_async_context(Client.from_endpoints_file(cluster.folder / "endpoints.json"))
        manifest = await client.upload_import(library_csv)
        states = [status.state async for status in client.watch_import(manifest.import_id)]
        assert states[-1] == pusher_pb2.IMPORT_STATE_DONE
        for reports in (client.reports, *(client.reports_at(name) for name in cluster.node_names)):
            found: dict[str, Totals] = {}
            async for answer in reports.stream_downline(report_pb2.StreamDownlineRequest()):
                for row in answer.members:
                    found[row.member_id] = Totals(row.level, row.downline_count, row.gv_hundredths)
            assert found == library.totals
        assert await differing_nodes(cluster, replay(library_csv, (await judge_log(client, [])).updates)) == []
