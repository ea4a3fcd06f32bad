"""Updates pushed during a chaos run, and every receipt for them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import grpc
import grpc.aio

from bench.cluster.history import Pushed, Read
from bench.engine.update_mix import update_mix
from fasttree.client import Client, PushOptions
from fasttree.v1 import pusher_pb2, report_pb2, report_pb2_grpc, types_pb2

UPDATES_PER_S = 300
_READ_EVERY_S, _READ_S = 0.05, 2.0
_AGAIN = (grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], grpc.StatusCode.UNAVAILABLE.value[0])


class Pushing:
    """Pushes updates until told to end; keeps every receipt, and pushes again what the full disk refused."""

    def __init__(self, client: Client, member_ids: list[str], seed: int) -> None:
        self._client = client
        self._updates = update_mix(seed, member_ids, 1_000_000)
        self._again: list[types_pb2.Update] = []
        self._sent: dict[str, types_pb2.Update] = {}
        self._ended = False
        #: When each went in first.
        self._begun_s: dict[str, float] = {}
        self.receipts: list[pusher_pb2.Receipt] = []
        #: What the pushes and the reads were like to whoever made them; see `bench/cluster/history.py`.
        self.pushes: list[Pushed] = []
        self.reads: list[Read] = []
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
            self._begun_s[update.update_id] = time.monotonic()
            yield update
            await asyncio.sleep(1 / UPDATES_PER_S)

    async def run(self) -> None:
        """Pushes until `end`, and then until everything has been taken."""
        while not self._ended or self._again or self._sent:
            async for receipt in self._client.push(self._source(), PushOptions(patience_s=120)):
                if receipt.code == 0:
                    self.receipts.append(receipt)
                    begun_s = self._begun_s.pop(receipt.update_id)
                    self.pushes.append(Pushed(receipt.update_id, begun_s, time.monotonic(), receipt.position))
                    del self._sent[receipt.update_id]
                elif receipt.code in _AGAIN:
                    self.refused += 1
                    self._again.append(self._sent[receipt.update_id])
                else:
                    raise RuntimeError(f"an update was not taken: {receipt}")

    async def read(self, channel: grpc.aio.Channel, member_id: str) -> None:
        """Reads what the newest receipt says, again and again until it is cancelled. What is not answered in time shows
        nothing here: other reads say how long those wait."""
        stub = report_pb2_grpc.ReportServiceStub(channel)
        while True:
            position = self.pushes[-1].position if self.pushes else 0
            options = report_pb2.ReportOptions(min_position=position)
            begun_s = time.monotonic()
            with contextlib.suppress(grpc.aio.AioRpcError):
                request = report_pb2.GetMemberRequest(member_id=member_id, options=options)
                answer = await stub.GetMember(request, timeout=_READ_S)
                self.reads.append(Read(begun_s, time.monotonic(), position, answer.as_of.position))
            await asyncio.sleep(_READ_EVERY_S)
