"""Asks the nodes for their digests, as the comparison's core (`comparison.py`) wants, and tells what it finds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

import grpc.aio

from fasttree.v1 import pusher_pb2, treenode_pb2, treenode_pb2_grpc
from services.pusher.comparison.comparison import (
    ANSWER_TIMEOUT_S,
    AgreeAgain,
    AskDigest,
    Comparison,
    Differ,
    Difference,
    DigestTold,
    RoundBegun,
    RoundOver,
    Standing,
)
from services.pusher.comparison.settings import ComparisonSettings
from services.pusher.fanout.runner import FanOut
from services.shared.serving.channels import open_channel

logger = logging.getLogger(__name__)


class ComparisonRunner:
    """Compares for as long as the pusher runs."""

    def __init__(self, settings: ComparisonSettings, fan_out: FanOut) -> None:
        self.core = Comparison()
        self._settings = settings
        self._fan_out = fan_out

    async def run(self) -> None:
        """A round after another; ends when it is cancelled."""
        while True:
            begun_s = time.monotonic()
            await self._round()
            await asyncio.sleep(max(0.0, self._settings.digest_interval_s - (time.monotonic() - begun_s)))

    async def _round(self) -> None:
        nodes = self._fan_out.core.nodes.values()
        standings = [Standing(node.node, node.import_id, node.applied_position) for node in nodes if node.shares_log]
        asked = self.core.handle(RoundBegun(tuple(standings)))
        questions = [action for action in asked if isinstance(action, AskDigest)]
        answers = await asyncio.gather(*map(_ask, questions))
        for action in self.core.handle(RoundOver(tuple(answers))):
            match action:
                case Differ(difference):
                    logger.error("%s; `fasttree verify` names the members", self._text(difference))
                case AgreeAgain(import_id):
                    logger.warning("the nodes of import %d are equal again", import_id)

    @property
    def differing(self) -> dict[str, int]:
        """1 for each known node that differs, else 0; by address."""
        found = {node for difference in self.core.known.values() for node in difference.nodes}
        return {node: int(node in found) for node in self._fan_out.core.nodes}

    def differences(self) -> list[pusher_pb2.DigestDifference]:
        """What is known now, with the nodes' names."""
        return [
            pusher_pb2.DigestDifference(
                import_id=known.import_id,
                position=known.position,
                nodes=self._names(known.nodes),
                others=self._names(known.others),
            )
            for known in self.core.known.values()
        ]

    def _names(self, addresses: Iterable[str]) -> list[str]:
        """In the order of the names, which is not that of the addresses."""
        return sorted(self._fan_out.names.get(address, address) for address in addresses)

    def _text(self, difference: Difference) -> str:
        named, others = (", ".join(self._names(each)) for each in (difference.nodes, difference.others))
        what = f"{named} differ from {others}" if others else f"{named} differ"
        return f"{what} at import {difference.import_id}, position {difference.position}"


async def _ask(question: AskDigest) -> DigestTold:
    request = treenode_pb2.GetDigestRequest(position=question.position)
    try:
        async with open_channel(question.node) as channel:
            stub = treenode_pb2_grpc.TreeNodeServiceStub(channel)
            # Position 0 is that of the empty tree here; in the request it would mean the newest.
            answer = await stub.GetDigest(request, timeout=ANSWER_TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        logger.debug("%s tells no digest: %s", question.node, error.details())
        return DigestTold(question.node, question.import_id, None)
    if answer.as_of.position != question.position:
        return DigestTold(question.node, question.import_id, None)
    return DigestTold(question.node, answer.as_of.import_id, answer.digest)
