"""A random tree served with tokens, and what a leader is to see of it, by the oracle."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
from google.protobuf.message import Message

from fasttree.v1 import report_pb2, report_pb2_grpc, types_pb2
from services.shared.security.own import begin
from services.shared.security.settings import TlsSettings
from services.shared.security.tokens.settings import TokenSettings
from services.shared.serving.callers.settings import CallerSettings
from services.shared.serving.server import GrpcServer
from services.shared.serving.settings import ServingSettings
from services.treenode.reports import ReportLimits, ReportServicer, add_report_service
from services.treenode.reports.copy.revealed import Reveal
from services.treenode.reports.serving import GET_MEMBER
from services.treenode.tree import Tree
from tests.shared.security.tokens.issuer import Issuer, settings, write_keys
from tests.treenode.reports.conftest import SteeredNode
from tests.treenode.reports.naive import SPONSOR, NaiveTree, Person

SLOT = ("PV", "2026-11")
EVERY = ["*"]
#: Of a policy.
EVERYTHING: Mapping[str, Any] = {"name": "all", "source": {"principals": ["*"]}}


class Served:
    """A node's report port, where tokens count and every role may call everything: what is held back, the engine
    holds back."""

    def __init__(
        self,
        tree: Tree,
        folder: Path,
        server: str,
        limits: ReportLimits,
        tokens: TokenSettings | None = None,
        rules: Sequence[Mapping[str, Any]] = (EVERYTHING,),
        reveal: Reveal | None = None,
    ) -> None:
        (folder / "policy.json").write_text(json.dumps({"name": "open", "allow_rules": list(rules)}))
        self.issuer = Issuer()
        write_keys(folder / "keys.json", self.issuer)
        begin(TlsSettings(policy=str(folder / "policy.json")), tokens or settings(folder / "keys.json"))
        self.node = SteeredNode(tree)
        self.servicer = ReportServicer(self.node, limits, reveal=reveal)
        self._server = GrpcServer(
            "127.0.0.1:0",
            [(add_report_service, self.servicer)],
            [],
            # One leader asks everything, as fast as he can.
            ServingSettings(server=server, callers=CallerSettings(leader_calls_per_s=1_000_000.0)),
            at_once={GET_MEMBER: self.servicer.member_at_once},
        )
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Served:
        self.address = f"127.0.0.1:{await self._server.start()}"
        self._channel = grpc.aio.insecure_channel(self.address)
        self.stub = report_pb2_grpc.ReportServiceStub(self._channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._channel is not None
        await self._channel.close()
        await self._server.stop(0.0)
        self.servicer.close()
        self.node.gate.close()
        begin(TlsSettings())


class World:
    """The tree by the oracle, as a leader is to see it."""

    def __init__(self, tree: Tree, which: int, leader: str) -> None:
        self.naive = NaiveTree(tree)
        self.which = which
        self.leader = leader
        person = self.naive.people.get(leader)
        self.here = person is not None and person.kind > 0
        #: Everybody whom he sees, empty places too, with the level below him.
        self.seen = {each.member_id: level for each, level in self.naive.walk(which, leader)} if self.here else {}
        self.inside = sorted(each for each in self.seen if self.naive.people[each].kind)
        self.outside = sorted({each for each in self.naive.people if each not in self.seen})

    def member(self, member_id: str, level: int) -> types_pb2.Member:
        """As he sees it."""
        person = self.naive.people[member_id]
        above = {which: name if name in self.seen else "" for which, name in person.above.items()}
        return self.naive.message(self.which, SLOT, dataclasses.replace(person, above=above), level)

    def own_level(self, member_id: str) -> types_pb2.Member:
        """The same, with the level below him."""
        return self.member(member_id, self.seen[member_id])

    def options(self, *columns: str) -> report_pb2.ReportOptions:
        """All columns, where not said otherwise, of the tree that is meant."""
        return report_pb2.ReportOptions(tree=types_pb2.Tree.ValueType(self.which), columns=columns or EVERY)

    def downline(self, start: str) -> dict[str, types_pb2.Member]:
        """By id, with levels below the start."""
        walked = self.naive.walk(self.which, start or self.leader)
        return {each.member_id: self.member(each.member_id, level) for each, level in walked if each.kind}

    def waiting(self, start: str) -> list[str]:
        """Those below in the sponsor tree who have no placement."""
        start = start or self.leader

        def waits(person: Person) -> bool:
            return person.kind > 0 and person.above[types_pb2.TREE_PLACEMENT] == "" and person.above[SPONSOR] != ""

        below = [each for each, _ in self.naive.walk(SPONSOR, start)]
        return sorted(each.member_id for each in below if waits(each) and each.member_id != start)


def texts_of(message: Message) -> Iterator[str]:
    """Every text in any field of a message; those in Arrow are looked at by `arrow_of`."""
    for field, value in message.ListFields():
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            for key, each in value.items():
                yield str(key)
                yield str(each)
        elif kind is not None:
            for each in value if field.is_repeated else [value]:
                yield from texts_of(each)
        elif field.type == field.TYPE_STRING:
            yield from value if field.is_repeated else [value]


def arrow_of(answers: list[report_pb2.StreamDownlineResponse]) -> tuple[list[dict[str, Any]], dict[str, set[str]]]:
    """The rows of a stream, and the words of each dictionary in it."""
    table = pa.ipc.open_stream(b"".join(answer.arrow for answer in answers)).read_all()
    words = {
        name: {word for chunk in table.column(name).chunks for word in chunk.dictionary.to_pylist()}
        for name in table.column_names
        if pa.types.is_dictionary(table.schema.field(name).type)
    }
    return table.to_pylist(), words


def random_leaders(dice: random.Random, tree: Tree) -> list[str]:
    """Somebody at the top, somebody in the midst, somebody with nobody below, and nobody."""
    naive = NaiveTree(tree)
    people = [each for each in naive.people.values() if each.kind]
    roots = [each.member_id for each in people if not each.above[SPONSOR]]
    midst = [each.member_id for each in people if each.above[SPONSOR] and each.children[SPONSOR]]
    leaves = [each.member_id for each in people if not each.children[SPONSOR]]
    empty = [each.member_id for each in naive.people.values() if not each.kind]
    return [dice.choice(roots), dice.choice(midst), dice.choice(midst), dice.choice(leaves), *empty[:1], "not a member"]
