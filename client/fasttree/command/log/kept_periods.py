"""Which nodes keep the states of closed periods."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypedDict

from fasttree.client import FastTreeClientError
from fasttree.command.session import Session
from fasttree.v1 import treenode_pb2

_GIGABYTE = 1e9


class KeptJson(TypedDict):
    """What a node keeps of a closed period."""

    node: str
    import_id: int
    position: int
    digest: str
    size_bytes: int


async def nodes_that_answer(session: Session) -> list[treenode_pb2.GetNodeResponse]:
    """Where each node stands, by name; none where the coordinator is away."""
    async with session.client() as client:
        try:
            nodes = [node.address for node in (await client.get_cluster()).nodes if node.alive]
        except FastTreeClientError:
            return []
        answers = await asyncio.gather(*(client.get_node(node.instant) for node in nodes), return_exceptions=True)
    found = [answer for answer in answers if isinstance(answer, treenode_pb2.GetNodeResponse)]
    return sorted(found, key=lambda answer: answer.address.name)


def kept_json(period: str, nodes: Sequence[treenode_pb2.GetNodeResponse]) -> list[KeptJson]:
    """What each node keeps of a period, for programs."""
    return [
        {
            "node": node.address.name,
            "import_id": kept.import_id,
            "position": kept.position,
            "digest": f"{kept.digest:016x}",
            "size_bytes": kept.size_bytes,
        }
        for node in nodes
        for kept in node.kept_periods
        if kept.period == period
    ]


def kept_text(period: str, nodes: Sequence[treenode_pb2.GetNodeResponse]) -> str:
    """The same for people: which nodes, and how large it is."""
    found = [(node.address.name, kept) for node in nodes for kept in node.kept_periods if kept.period == period]
    if not found:
        return "by no node that answers"
    size_bytes = max(kept.size_bytes for _, kept in found)
    size = f"{size_bytes / _GIGABYTE:.1f} GB" if size_bytes >= _GIGABYTE else f"{size_bytes / 1e6:.1f} MB"
    return f"{', '.join(name for name, _ in found)} ({size})"
