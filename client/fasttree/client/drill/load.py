"""The load under which a drill runs: reads through the VIP by the clock, and orders of a hundredth for one member."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import NamedTuple, Self

import grpc

from fasttree.client.calls.channels import Channels
from fasttree.client.calls.tls import TlsFiles
from fasttree.client.client import Client
from fasttree.v1 import report_pb2, report_pb2_grpc, types_pb2


class Load(NamedTuple):
    """What a drill reads and pushes meanwhile, and its patience."""

    reads_per_s: float
    orders_per_s: float
    #: A read that is not answered within that has failed, in seconds.
    read_timeout_s: float = 2.0


#: A drill that came later than that to its own work says so.
_LATE_S = 0.5
#: For the receipts of what was pushed, where a drill ends early.
_FINISH_S = 30.0


class Reads:
    """Reads one member at a steady rate, without retries: what a plain client of the VIP would see."""

    def __init__(self, vip: str, member_id: str, load: Load, tls: TlsFiles | None = None) -> None:
        self._channels = Channels(tls)
        self._stub: report_pb2_grpc.ReportServiceAsyncStub = report_pb2_grpc.ReportServiceStub(self._channels.to(vip))
        self._request = report_pb2.GetMemberRequest(member_id=member_id)
        self._pause_s, self._timeout_s = 1 / load.reads_per_s, load.read_timeout_s
        self._calls: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        #: (sent, answered) of each good read, seconds on the monotonic clock.
        self.good: list[tuple[float, float]] = []
        self.failures: Counter[str] = Counter()
        #: How late this process came to its own work at most: then what it measured is not the cluster's.
        self.late_s_max = 0.0

    async def __aenter__(self) -> Self:
        self._loop = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, *self._calls, return_exceptions=True)
        await self._channels.close()

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            self.late_s_max = max(self.late_s_max, time.monotonic() - due)
            call = asyncio.create_task(self._read())
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            due += self._pause_s
            await asyncio.sleep(max(due - time.monotonic(), 0.0))

    async def _read(self) -> None:
        sent = time.monotonic()
        try:
            await self._stub.GetMember(self._request, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            self.failures[f"{error.code().name}: {error.details()}"] += 1
            return
        self.good.append((sent, time.monotonic()))

    @property
    def own_fault(self) -> str:
        """What a drill says where it came too late to its own work for its figures to mean much."""
        if self.late_s_max < _LATE_S:
            return ""
        return (
            f"; the drill itself came {self.late_s_max:.1f} s late to its own work: this machine is too busy, drill "
            "again from a quieter one before you blame the cluster"
        )

    def longest_gap_ms(self, since: float) -> float:
        """The longest time between two good answers after a moment of the monotonic clock."""
        answered = sorted(answered for _, answered in self.good if answered >= since)
        return max(((later - earlier) * 1e3 for earlier, later in itertools.pairwise(answered)), default=0.0)

    def first_after_ms(self, since: float) -> float | None:
        """From a moment to the first answer of a read that was sent after it."""
        answered = [answered for sent, answered in self.good if sent >= since]
        return (min(answered) - since) * 1e3 if answered else None


class Orders:
    """Orders of one hundredth each for one member, pushed by the clock; counts those with a receipt."""

    def __init__(self, client: Client, member_id: str, name: str, load: Load) -> None:
        self._client = client
        self._member_id = member_id
        self._name = name
        self._pause_s = 1 / load.orders_per_s
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.acknowledged = 0
        self.refused = 0
        self.position = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        # An order that arrives after the drill's member was removed would wait for it, for ever.
        self._stop.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_FINISH_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def finish(self) -> None:
        """No new orders; waits for the last receipt. Raises what the push raised."""
        self._stop.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        async for receipt in self._client.push(self._orders()):
            if receipt.code:
                self.refused += 1
            else:
                self.acknowledged += 1
                self.position = max(self.position, receipt.position)

    async def _orders(self) -> AsyncIterator[types_pb2.Update]:
        for number in itertools.count(1):
            if self._stop.is_set():
                return
            posted = types_pb2.VolumePosted(member_id=self._member_id, amount_hundredths=1)
            yield types_pb2.Update(update_id=f"{self._name}-order-{number}", volume_posted=posted)
            await asyncio.sleep(self._pause_s)
