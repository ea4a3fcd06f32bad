"""What a drill looks at before it changes anything: the newest import, where reads go, the logs in a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fasttree.client.calls.pages import PageError, Pages
from fasttree.client.client import Client
from fasttree.client.drill.receipt import DrillError

#: Reads that all have to come from the primary.
_READS = 20
_PAGE_TIMEOUT_S = 5.0
#: A node's log of updates, as 2016 named it.
_PUSH_LOG = "/debug/hpushup.log?lines=1"


class NotTriedError(Exception):
    """What can't be looked at here, and why."""


async def newest_import(client: Client) -> dict[str, float]:
    """Every node serves it. Raises DrillError, NotTriedError, CallError."""
    imports = (await client.get_pusher()).imports
    if not imports:
        raise NotTriedError("there was no import yet")
    cluster = await client.get_cluster()
    serving = {node.address.name: node.status.import_id for node in cluster.nodes if node.alive}
    newest = max(serving.values(), default=0)
    if behind := [name for name, import_id in serving.items() if import_id != newest]:
        raise DrillError(f"{', '.join(behind)} does not serve import {newest} yet; `fasttree import list` says why")
    return {"import_id": newest, "nodes": len(serving)}


async def traffic_is_the_primarys(client: Client, member_id: str) -> bool:
    """Whether the VIP has each read answered by the primary. Raises CallError."""
    primary = (await client.get_cluster()).primary
    answers = [await client.reports.get_member(member_id) for _ in range(_READS)]
    return {answer.as_of.node for answer in answers} == {primary}


async def hits_in_logs(client: Client) -> dict[str, float]:
    """Each node's log of updates has a line. Raises DrillError, NotTriedError."""
    nodes = client.endpoints.nodes
    if not nodes:
        raise NotTriedError("no endpoints file names the nodes' HTTP ports")
    if unknown := [node.name for node in nodes if not node.http]:
        raise NotTriedError(f"the endpoints file names no HTTP port of {', '.join(unknown)}")
    pages = Pages(client.tls, client.token, _PAGE_TIMEOUT_S)
    try:
        lines = await asyncio.gather(*(pages.get(node.http, _PUSH_LOG) for node in nodes))
    except PageError as error:
        raise NotTriedError(str(error)) from None
    if silent := _names([node.name for node in nodes], lines):
        raise DrillError(f"the log of updates of {silent} has no line; look at its page {_PUSH_LOG.partition('?')[0]}")
    return {"nodes": len(nodes)}


def _names(names: Sequence[str], lines: Sequence[str]) -> str:
    return ", ".join(name for name, line in zip(names, lines, strict=True) if not line.strip())
