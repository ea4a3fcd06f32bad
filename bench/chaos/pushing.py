"""Updates pushed during a chaos run, and every receipt for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc

from bench.engine.update_mix import update_mix
from fasttree.client import Client, PushOptions
from fasttree.v1 import pusher_pb2, types_pb2

UPDATES_PER_S = 300
_AGAIN = (grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], grpc.StatusCode.UNAVAILABLE.value[0])


class Pushing:
    """Pushes updates until told to end; keeps every receipt, and pushes again what the full disk refused."""

    def __init__(self, client: Client, member_ids: list[str], seed: int) -> None:
        self._client = client
        self._updates = update_mix(seed, member_ids, 1_000_000)
        self._again: list[types_pb2.Update] = []
        self._sent: dict[str, types_pb2.Update] = {}
        self._ended = False
        self.receipts: list[pusher_pb2.Receipt] = []
        self.refused = 0

    def end(self) -> None:
        """No new updates; `run` returns once all have receipts."""
        self._ended = True

    async def _source(self) -> AsyncIterator[types_pb2.Update]:
        while True:
            while self._again:
                yield self._again.pop()
            if self._ended:
                return
            update = next(self._updates)
            self._sent[update.update_id] = update
            yield update
            await asyncio.sleep(1 / UPDATES_PER_S)

    async def run(self) -> None:
        """Pushes until `end`, and then until everything has been taken."""
        while not self._ended or self._again or self._sent:
            async for receipt in self._client.push(self._source(), PushOptions(patience_s=120)):
                if receipt.code == 0:
                    self.receipts.append(receipt)
                    del self._sent[receipt.update_id]
                elif receipt.code in _AGAIN:
                    self.refused += 1
                    self._again.append(self._sent[receipt.update_id])
                else:
                    raise RuntimeError(f"an update was not taken: {receipt}")
