"""A real Prometheus over a real cluster, by the shipped alert rules with a shorter patience."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from bench.cluster.cluster import ClusterError, free_port
from fasttree.client import Endpoints

#: Minutes alone: a rule that looks on for half an hour guesses from what it saw, such as of a disk that others use too.
_PATIENCE = re.compile(r"for: (?:\d+s|1?\dm)$", re.MULTILINE)
RULES = Path(__file__).parents[2] / "deploy/alerts/fasttree.rules.yml"


def patience_of() -> dict[str, str]:
    """What each shipped rule waits for before it fires; rules that wait for nothing are not in it."""
    found: dict[str, str] = {}
    for rule in RULES.read_text().split("- alert: ")[1:]:
        if waits := re.search(r"^\s+for: (\w+)$", rule, re.MULTILINE):
            found[rule.split("\n", 1)[0]] = waits[1]
    return found


def configuration(endpoints: Endpoints, rules: Path) -> str:
    """Prometheus': the HTTP ports of all parts."""
    ports = [endpoints.http[part] for part in ("coordinator", "pusher")]
    ports += [node.http for node in endpoints.nodes]
    scraped: dict[str, Any] = {"job_name": "fasttree", "static_configs": [{"targets": ports}]}
    if (tls := endpoints.tls) is not None:
        files = {"ca_file": tls.ca, "cert_file": tls.certificate, "key_file": tls.key, "server_name": tls.server_name}
        scraped |= {"scheme": "https", "tls_config": files}
    # JSON is YAML.
    return json.dumps(
        {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms", "evaluation_interval": "500ms"},
            "rule_files": [str(rules)],
            "scrape_configs": [scraped],
        }
    )


@contextlib.asynccontextmanager
async def prometheus(endpoints: Endpoints, folder: Path, bounds: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """Its address, from its start on; rules that wait for less than 20 minutes wait for 1 s. `bounds`: parts of the
    rules' expressions, and what stands there instead."""
    program = shutil.which("prometheus")
    if program is None:
        raise ClusterError("prometheus is missing: `apt-get install prometheus` brings it")
    folder.mkdir()
    rules = folder / "rules.yml"
    text = _PATIENCE.sub("for: 1s", RULES.read_text())
    for shipped, here in (bounds or {}).items():
        text = text.replace(shipped, here)
    rules.write_text(text)
    (folder / "prometheus.yml").write_text(configuration(endpoints, rules))
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
    """Of its API; nothing while it starts."""
    try:
        async with session.get(f"/api/v1/{path}", params=query) as response:
            return (await response.json())["data"]
    except aiohttp.ClientError:
        return None


async def all_is_known(session: aiohttp.ClientSession, parts: int) -> bool:
    """Whether it has read every part, and looked at every rule."""
    up = await ask(session, "query", query="sum(up)")
    rules = await ask(session, "rules")
    evaluated = rules and all(rule["health"] == "ok" for group in rules["groups"] for rule in group["rules"])
    return bool(up and up["result"] and up["result"][0]["value"][1] == str(parts) and evaluated)


async def firing(session: aiohttp.ClientSession) -> dict[str, set[str]]:
    """The alerts that fire, with what names each: its node, or its address."""
    found: dict[str, set[str]] = {}
    for alert in (await ask(session, "alerts") or {"alerts": []})["alerts"]:
        if alert["state"] == "firing":
            labels = alert["labels"]
            found.setdefault(labels["alertname"], set()).add(labels.get("node") or labels["instance"])
    return found
