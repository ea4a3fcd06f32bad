"""What is known of an update without its trace: its position, its record in the log, and each node's own log of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from fasttree.client import CallError, Client, NodeEndpoint, PermissionDeniedError, UnauthenticatedError
from fasttree.client.calls.pages import PageError, Pages
from fasttree.v1 import treenode_pb2, types_pb2

#: A node's log of updates, as 2016 named it; more lines than it keeps.
_PUSH_LOG = "/debug/hpushup.log?lines=100000000"
_HELD = "held"
#: Of rejected updates whose ids begin alike.
_LISTED = 1_000


@dataclass(frozen=True, kw_only=True)
class OnNode:
    """What one node says."""

    node: str
    #: By its own clock; empty: its log has no line of it any more, or never had one.
    applied_at: str = ""
    position: int = 0
    outcome: str = ""
    #: Why it says nothing.
    problem: str = ""

    @property
    def json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


async def on_nodes(client: Client, nodes: tuple[NodeEndpoint, ...], update_id: str) -> list[OnNode]:
    """What each node's log of updates says of it."""
    pages = Pages(client.tls, client.token)
    return list(await asyncio.gather(*(_on_node(pages, node, update_id) for node in nodes)))


async def _on_node(pages: Pages, node: NodeEndpoint, update_id: str) -> OnNode:
    if not node.http:
        return OnNode(node=node.name, problem="its HTTP port is not known: name it in the endpoints file, as http")
    try:
        text = await pages.get(node.http, _PUSH_LOG)
    except PageError as error:
        return OnNode(node=node.name, problem=str(error))
    for line in reversed(text.splitlines()):
        when, position, name, *rest = [*line.split(" ", 3), "", "", ""][:4]
        if name == update_id and position.isdigit():
            return OnNode(node=node.name, applied_at=when, position=int(position), outcome=_outcome(rest[0]))
    return OnNode(node=node.name, problem="no line of its log of updates: too long ago, or more came than it writes")


async def with_fates(
    client: Client, nodes: tuple[NodeEndpoint, ...], seen: list[OnNode], update_id: str, position: int
) -> list[OnNode]:
    """What became of it since: of those whose log has no line, and of those that held it at first."""
    places = {node.name: node for node in nodes}

    async def of(node: OnNode) -> OnNode:
        place = places[node.node]
        was_held = node.outcome.startswith(_HELD)
        if not place.instant or (node.position and not was_held):
            return node
        try:
            fate = await client.get_update_fate(place.instant, position)
        except CallError as error:
            return node if was_held else replace(node, problem=f"{node.problem}; {error}")
        word = treenode_pb2.UpdateFate.Name(fate).removeprefix("UPDATE_FATE_").lower().replace("_", " ")
        if not was_held:
            return node if word == "unspecified" else replace(node, position=position, outcome=word)
        if word in ("unspecified", _HELD):
            return node
        later = await _after_held(client, place, update_id, position) if word == "taken" else f"{word} later"
        return replace(node, outcome=f"{later} ({node.outcome})")

    return list(await asyncio.gather(*map(of, seen)))


async def _after_held(client: Client, place: NodeEndpoint, update_id: str, position: int) -> str:
    """Of one that a node held and has taken since: a node says no more than that, but it lists what it rejected."""
    if not place.report:
        return "held no more"
    try:
        answer = await client.reports_at(place).list_rejected_updates(limit=_LISTED, update_id_prefix=update_id)
    except CallError:
        return "held no more"
    reasons = [each.reason for each in answer.updates if each.position == position]
    return f"rejected later: {reasons[0]}" if reasons else "applied later"


def _outcome(told: str) -> str:
    """Of a line's end; what an update says is left out."""
    for outcome in types_pb2.Outcome.values():
        word = types_pb2.Outcome.Name(outcome).removeprefix("OUTCOME_").lower()
        if told.endswith(f" {word}") or f" {word}: " in told:
            return word + told.partition(f" {word}")[2]
    return ""


async def record_of(client: Client, update_id: str, position: int, search: int) -> treenode_pb2.LogRecord | None:
    """Its record: at the position where that is known, else among the newest ones. Raises CallError."""
    if position:
        async for record in client.read_log(position, position):
            return record if _id_of(record) == update_id else None
        return None
    end = (await client.get_pusher()).log_end
    first = max(end.first_position, end.position - search + 1)
    if end.position < first:
        return None
    async for record in _records(client, first, end.position):
        if _id_of(record) == update_id:
            return record
    return None


async def _records(client: Client, first: int, last: int) -> AsyncIterator[treenode_pb2.LogRecord]:
    try:
        async for record in client.read_log(first, last):
            yield record
    except (PermissionDeniedError, UnauthenticatedError):
        raise
    except CallError:
        return  # a damaged one, say: `fasttree log verify` tells; what came before was looked at


def _id_of(record: treenode_pb2.LogRecord) -> str:
    return types_pb2.Update.FromString(record.update).update_id
