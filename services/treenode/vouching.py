"""A primary whose active coordinator is silent asks the others to vouch for it (role.py, rule 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from fasttree.v1 import coordinator_pb2
from services.shared.serving.streams import CallStream, StreamError, open_stream
from services.treenode.node.role import Vouched
from services.treenode.node.runner import now_s

#: How often it is looked whether one is to be asked, and how often each is, in seconds.
_LOOK_S = 0.1
#: What a question, or a connection, has to end in: longer ones give too little.
_ANSWER_S = 0.4
_METHOD = "/fasttree.v1.CoordinatorService/VouchPrimary"


@dataclass(frozen=True)
class Asker:
    """Who asks: the names of the cluster and the node, and the node's process."""

    cluster: str
    node: str
    incarnation: str


class Vouching:
    """Asks every coordinator, for as long as that is needed.

    Args:
        epoch: The one to ask for; 0: nothing is to be asked now.
        vouched: Gets each answer that is one.
    """

    def __init__(
        self, coordinators: str, asker: Asker, epoch: Callable[[], int], vouched: Callable[[Vouched], None]
    ) -> None:
        self._addresses = coordinators.split(",")
        self._asker, self._epoch, self._vouched = asker, epoch, vouched

    async def run(self) -> None:
        """Until it is cancelled; at once where there is one coordinator."""
        if len(self._addresses) > 1:
            await asyncio.gather(*map(self._ask_on, self._addresses))

    async def _ask_on(self, address: str) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            if not self._epoch():
                continue
            try:
                async with asyncio.timeout(_ANSWER_S):
                    stream = await open_stream(address, _METHOD)
            except (TimeoutError, StreamError):
                continue
            try:
                await self._ask(stream)
            except (TimeoutError, StreamError):
                pass  # another stream, or another coordinator
            finally:
                await stream.close()

    async def _ask(self, stream: CallStream) -> None:
        """Questions over one stream. Raises TimeoutError, StreamError."""
        answers, sequence = stream.read(), 0
        while epoch := self._epoch():
            sequence += 1
            asked_at_s = now_s()
            question = coordinator_pb2.VouchPrimaryRequest(
                cluster=self._asker.cluster,
                node=self._asker.node,
                incarnation=self._asker.incarnation,
                epoch=epoch,
                sequence=sequence,
            )
            async with asyncio.timeout(_ANSWER_S):
                await stream.write(question.SerializeToString())
                message = await anext(answers, None)
            if message is None:
                return
            answer = coordinator_pb2.VouchPrimaryResponse.FromString(message)
            if answer.lease_ms and answer.sequence == sequence:
                self._vouched(Vouched(epoch, asked_at_s, answer.lease_ms / 1_000))
            await asyncio.sleep(_LOOK_S)
