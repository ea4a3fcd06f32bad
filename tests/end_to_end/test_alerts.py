"""A real Prometheus over a real cluster, by the shipped rules with a shorter patience: quiet while all is well; a node
that is killed, and an import that is refused, are told, and nothing else is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from bench.cluster.cluster import RunningCluster, free_port, running_cluster, wait_for
from fasttree.client import Client
from fasttree.v1 import pusher_pb2

RULES = Path(__file__).parents[2] / "deploy/alerts/fasttree.rules.yml"
WAIT_S = 90.0


def configuration(cluster: RunningCluster, rules: Path) -> str:
    """Prometheus': the HTTP ports of all parts."""
    endpoints = cluster.endpoints
    ports = [endpoints["http"][part] for part in ("coordinator", "pusher")]
    ports += [node["http"] for node in endpoints["nodes"]]
    # JSON is YAML.
    return json.dumps(
        {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms", "evaluation_interval": "500ms"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "fasttree", "static_configs": [{"targets": ports}]}],
        }
    )


@contextlib.asynccontextmanager
async def prometheus(cluster: RunningCluster, folder: Path) -> AsyncIterator[str]:
    """Its address; it has read everything once."""
    program = shutil.which("prometheus")
    assert program, "prometheus is missing: `apt-get install prometheus` brings it"
    folder.mkdir()
    rules = folder / "rules.yml"
    rules.write_text(re.sub(r"for: \w+", "for: 1s", RULES.read_text()))
    (folder / "prometheus.yml").write_text(configuration(cluster, rules))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            stdout=log,
            stderr=log,
        )
    try:
        yield address
    finally:
        process.terminate()
        await process.wait()


async def ask(session: aiohttp.ClientSession, path: str, **query: str) -> Any:
    try:
        async with session.get(f"/api/v1/{path}", params=query) as response:
            return (await response.json())["data"]
    except aiohttp.ClientError:
        return None  # it starts


async def firing(session: aiohttp.ClientSession) -> dict[str, set[str]]:
    """The alerts that fire, with what names each: its node, or its address."""
    found: dict[str, set[str]] = {}
    for alert in (await ask(session, "alerts") or {"alerts": []})["alerts"]:
        if alert["state"] == "firing":
            labels = alert["labels"]
            found.setdefault(labels["alertname"], set()).add(labels.get("node") or labels["instance"])
    return found


async def test_faults_are_told_and_nothing_else(tmp_path: Path, library_csv: Path) -> None:
    async with (
        running_cluster(tmp_path / "cluster", arguments=("--no-restart",)) as cluster,
        Client.from_endpoints_file(cluster.folder / "endpoints.json") as client,
    ):
        good = await client.upload_import(library_csv)
        _ = [status async for status in client.watch_import(good.import_id, patience_s=WAIT_S)]
        await cluster.wait_ready()
        async with (
            prometheus(cluster, tmp_path / "prometheus") as address,
            aiohttp.ClientSession(f"http://{address}") as session,
        ):

            async def all_is_known() -> bool:
                up = await ask(session, "query", query="sum(up)")
                rules = await ask(session, "rules")
                evaluated = rules and all(
                    rule["health"] == "ok" for group in rules["groups"] for rule in group["rules"]
                )
                return bool(up and up["result"] and up["result"][0]["value"][1] == "4" and evaluated)

            await wait_for(all_is_known, WAIT_S, "every part to be scraped, and every rule to be looked at")
            assert await firing(session) == {}

            bad = tmp_path / "bad.csv"
            bad.write_text("member_id,sponsor_id\nA,A\n")
            refused = await client.upload_import(bad)
            *_, last = [status async for status in client.watch_import(refused.import_id, patience_s=WAIT_S)]
            assert last.state == pusher_pb2.IMPORT_STATE_REFUSED

            async def import_told() -> bool:
                return set(await firing(session)) == {"FastTreeImportRefused"}

            await wait_for(import_told, WAIT_S, "FastTreeImportRefused, and nothing else")

            gone = cluster.node(cluster.node_names[-1])
            cluster.kill(gone["name"])

            async def node_told() -> bool:
                told = await firing(session)
                return told.get("FastTreeServiceDown") == {gone["http"]} and "FastTreeOneNodeLeft" in told

            await wait_for(node_told, WAIT_S, "FastTreeServiceDown and FastTreeOneNodeLeft")
            assert set(await firing(session)) <= {
                "FastTreeImportRefused",
                "FastTreeServiceDown",
                "FastTreeOneNodeLeft",
            }
