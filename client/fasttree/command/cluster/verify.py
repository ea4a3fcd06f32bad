"""`fasttree verify`: do all nodes hold the same, and where not, which members differ?

Two nodes at the same (import, position) must have the same digest: a sum of one hash for each member's facts, each held
and each rejected update. Where digests differ, the tree is descended: a leg's digest is the sum over the member and its
downline, so only legs whose digests differ are looked into, down to the members themselves.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import click

from fasttree.client import CallError, Client, EndpointsError, NodeEndpoint, NotFoundError
from fasttree.client.counts import counted
from fasttree.client.forms.members import KNOWN_COLUMNS, Rows
from fasttree.command.output import Progress, print_json, print_table
from fasttree.command.ranges import COUNT, POSITION
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.v1 import report_pb2, treenode_pb2

#: How often two nodes are asked for legs until both answers are as of one position.
_ATTEMPTS = 50
#: Legs that a node is asked for at a time.
_PAGE_SIZE = 10_000


class DigestJson(TypedDict):
    """What a node holds, or why it did not say."""

    node: str
    import_id: int
    position: int
    digest: str
    problem: str


class DifferingJson(TypedDict):
    """A member or an update that two nodes hold differently."""

    what: str
    id: str
    nodes: list[str]
    text: str


class VerifiedJson(TypedDict):
    """Whether all nodes hold the same."""

    equal: bool
    #: Why the pusher takes no pushes: then each node says what it has, whatever the log's end is.
    closed: str
    nodes: list[DigestJson]
    differences: list[DifferingJson]


@dataclass(frozen=True)
class NodeDigest:
    """What a node holds, in 64 bits; or why it did not say."""

    node: str
    import_id: int = 0
    position: int = 0
    digest: int = 0
    problem: str = ""

    @property
    def state(self) -> tuple[int, int, int]:
        return self.import_id, self.position, self.digest

    def as_json(self) -> DigestJson:
        """For programs."""
        return {
            "node": self.node,
            "import_id": self.import_id,
            "position": self.position,
            "digest": f"{self.digest:016x}",
            "problem": self.problem,
        }


@click.command()
@prints(VerifiedJson)
@click.option(
    "--position",
    type=POSITION,
    help="Compare there; where the log ends now if not given, or where the nodes are while that takes no pushes.",
)
@click.option("--limit", type=COUNT, default=20, show_default=True, help="Most members listed.")
@common_options
def verify(session: Session, position: int | None, limit: int) -> None:
    """Compares the digests of all nodes at one position; where they differ, finds the members."""
    digests, differences, closed = run(_verify(session, position, limit))
    answered = [digest for digest in digests if not digest.problem]
    equal = len({digest.state for digest in answered}) == 1
    if session.json:
        print_json(
            VerifiedJson(
                equal=equal and len(answered) == len(digests),
                closed=closed,
                nodes=[digest.as_json() for digest in digests],
                differences=differences,
            )
        )
    else:
        _print(digests, differences)
    # A log that the nodes do not have is why they can't say what they hold at its positions.
    told = [f"no pushes are taken: {closed}"] if closed else []
    problems = [f"{digest.node}: {digest.problem}" for digest in digests if digest.problem]
    if problems:
        raise CommandError("; ".join([*told, *problems]))
    if not equal:
        first = f"{counted(len(differences), 'difference')} listed" if differences else "no member found that differs"
        told.append(
            f"the nodes do not hold the same ({first}); take the node that is wrong out, see docs/operations.md, "
            "`Two nodes differ`"
        )
        raise CommandError("; ".join(told))
    import_id, at, _ = answered[0].state
    same = f"{counted(len(answered), 'node holds', 'nodes hold')} the same at import {import_id}, position {at}"
    if closed:
        raise CommandError(f"{same}, but {told[0]}")
    if not session.json:
        click.echo(same)


def _print(digests: Sequence[NodeDigest], differences: list[DifferingJson]) -> None:
    print_table(
        ["node", "import", "position", "digest"],
        [
            [digest.node, digest.import_id, digest.position, "" if digest.problem else f"{digest.digest:016x}"]
            for digest in digests
        ],
    )
    for difference in differences:
        click.echo(f"{difference['what']} {difference['id']}: {difference['text']}")


async def _verify(
    session: Session, position: int | None, limit: int
) -> tuple[list[NodeDigest], list[DifferingJson], str]:
    async with session.client() as client:
        return await compare(client, position, limit)


async def compare(
    client: Client, position: int | None, limit: int
) -> tuple[list[NodeDigest], list[DifferingJson], str]:
    """What the nodes hold, where that differs (0: nobody asks), and why the pusher takes nothing, if it said so."""
    closed = ""
    nodes = await _nodes(client)
    if position is None:
        pusher = await client.get_pusher()
        closed = pusher.closed_reason
        position = 0 if closed else pusher.log_end.position  # the nodes may not have what that log's positions mean
    digests = await asyncio.gather(*(_digest(client, node, position) for node in nodes))
    answered = [digest for digest in digests if not digest.problem]
    differences: list[DifferingJson] = []
    majority = Counter(digest.state for digest in answered).most_common(1)
    for digest in answered:
        if limit and digest.state != majority[0][0] and not (closed and digest.state[:2] != majority[0][0][:2]):
            other = next(one for one in answered if one.state == majority[0][0])
            places = {node.name: node for node in nodes}
            descent = Descent(client, places[other.node], places[digest.node], limit)
            differences += await descent.run()
    return list(digests), differences, closed


async def _nodes(client: Client) -> tuple[NodeEndpoint, ...]:
    """Every node: those of the endpoints file where that names no coordinator or, with a word of it, none answers."""
    try:
        nodes = await client.nodes()
    except EndpointsError:
        nodes = client.endpoints.nodes
    except CallError as error:
        nodes = client.endpoints.nodes
        click.echo(f"only the nodes that the endpoints file names are compared: {error}", err=True)
    if not nodes:
        raise CommandError("no nodes are known: name them in the endpoints file, each with name, report and instant")
    return nodes


async def _digest(client: Client, node: NodeEndpoint, position: int) -> NodeDigest:
    try:
        answer = await client.get_digest(node.instant, position)
    except CallError as error:
        return NodeDigest(node=node.name, problem=str(error))
    return NodeDigest(
        node=node.name, import_id=answer.as_of.import_id, position=answer.as_of.position, digest=answer.digest
    )


def _last_id(page: treenode_pb2.ListLegDigestsResponse) -> str:
    return page.legs[-1].member_id


class Descent:
    """Finds where two nodes differ."""

    def __init__(self, client: Client, left: NodeEndpoint, right: NodeEndpoint, limit: int) -> None:
        self._client = client
        self._left = left
        self._right = right
        self._limit = limit
        self._found: list[DifferingJson] = []
        self._progress = Progress(stream=sys.stderr)

    async def run(self) -> list[DifferingJson]:
        """Differences in tree order, `limit` at most: members, then held and rejected updates."""
        waiting = [""]
        while waiting and len(self._found) < self._limit:
            member_id = waiting.pop()
            left, right = await self._legs(member_id)
            for leg in sorted(left.keys() | right.keys(), reverse=True):
                if leg not in left or leg not in right:
                    here, there = (self._left, self._right) if leg in left else (self._right, self._left)
                    self._add("member", leg, f"below {member_id or 'no sponsor'} on {here.name}, not on {there.name}")
                    continue
                if left[leg].leg_digest == right[leg].leg_digest:
                    continue
                if left[leg].member_digest != right[leg].member_digest:
                    self._add("member", leg, await self._facts(leg))
                waiting.append(leg)
            self._progress.renew(
                f"comparing {self._left.name} and {self._right.name}: below {member_id or 'the roots'}"
            )
        self._progress.clear()
        await self._compare_outcomes()
        return self._found[: self._limit]

    def _add(self, what: str, name: str, text: str) -> None:
        nodes = [self._left.name, self._right.name]
        self._found.append(DifferingJson(what=what, id=name, nodes=nodes, text=text))

    async def _legs(
        self, member_id: str
    ) -> tuple[dict[str, treenode_pb2.LegDigest], dict[str, treenode_pb2.LegDigest]]:
        """The legs below a member on both nodes: each part, of ids in a row, as of one position."""
        legs: tuple[dict[str, treenode_pb2.LegDigest], dict[str, treenode_pb2.LegDigest]] = {}, {}
        token = ""
        while True:
            pages = await self._pages(member_id, token)
            # Both pages say all of what they have up to where the first of them ends.
            first = min((page for page in pages if page.next_page_token), key=_last_id, default=None)
            for found, page in zip(legs, pages, strict=True):
                found.update({leg.member_id: leg for leg in page.legs if not first or leg.member_id <= _last_id(first)})
            if first is None:
                return legs
            token = first.next_page_token

    async def _pages(self, member_id: str, token: str) -> list[treenode_pb2.ListLegDigestsResponse]:
        """A page of both nodes, as of one position."""
        for _ in range(_ATTEMPTS):
            nodes = self._left, self._right
            pages = await asyncio.gather(*(self._legs_of(node, member_id, token) for node in nodes))
            if len({(page.as_of.import_id, page.as_of.position) for page in pages}) == 1:
                return pages
        raise CommandError(
            f"{self._left.name} and {self._right.name} differ, but updates come too fast to see where: "
            "stop pushing for a moment and run `fasttree verify` again"
        )

    async def _legs_of(self, node: NodeEndpoint, member_id: str, token: str) -> treenode_pb2.ListLegDigestsResponse:
        try:
            return await self._client.list_leg_digests(node.instant, member_id, page_size=_PAGE_SIZE, page_token=token)
        except NotFoundError:
            # It went away between two questions; what stands above it differs and is listed.
            answer = treenode_pb2.ListLegDigestsResponse()
            answer.as_of.CopyFrom((await self._client.get_digest(node.instant)).as_of)
            return answer

    async def _facts(self, member_id: str) -> str:
        """How a member differs, field by field."""
        options = report_pb2.ReportOptions(columns=["*", "volumes"])
        members = []
        for node in (self._left, self._right):
            try:
                answer = await self._client.reports_at(node).get_member(member_id, options=options)
            except CallError as error:
                return f"differs; {node.name} could not say how: {error}"
            (row,) = Rows([*KNOWN_COLUMNS, "volumes"]).json([answer.member])
            members.append({**row, **answer.member.columns})
        left, right = members
        differing = [key for key in left.keys() | right.keys() if left.get(key) != right.get(key)]
        texts = [
            f"{key} {left.get(key)!r} on {self._left.name}, {right.get(key)!r} on {self._right.name}"
            for key in sorted(differing)
        ]
        return "; ".join(texts) or "differs in a fact that reports do not show"

    async def _compare_outcomes(self) -> None:
        """Held and rejected updates are part of the digest, and of no leg."""
        left, right = (self._client.reports_at(node) for node in (self._left, self._right))
        for what, answers in (
            ("held update", [await left.list_held_updates(limit=10_000), await right.list_held_updates(limit=10_000)]),
            (
                "rejected update",
                [await left.list_rejected_updates(limit=10_000), await right.list_rejected_updates(limit=10_000)],
            ),
        ):
            ids = [{update.position: update.update_id for update in answer.updates} for answer in answers]
            for position in sorted(ids[0].keys() ^ ids[1].keys()):
                node = self._left if position in ids[0] else self._right
                update_id = ids[0].get(position) or ids[1].get(position) or ""
                self._add(what, update_id, f"position {position}, only on {node.name}")
