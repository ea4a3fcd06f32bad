"""Reports read at a steady rate, and the gaps between those that were answered."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Sequence

import grpc
import grpc.aio

from fasttree.v1 import report_pb2, report_pb2_grpc

DEADLINE_S = 2.0


class ReadLoad:
    """Reads one member after another, by the clock and not by the answers, without retries of its own.

    Attributes:
        failures: Calls that were not answered, by status.
        answered_at_s: When each answer came, on the monotonic clock.
        answered_by: How many answers each node gave.
        slowest_s: How long the slowest of those that were answered took.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        member_ids: Sequence[str],
        rate_per_s: float = 200.0,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._stub = report_pb2_grpc.ReportServiceStub(channel)
        self._member_ids = member_ids
        self._rate_per_s = rate_per_s
        self._deadline_s = deadline_s
        self._random = random.Random(7)
        self._calls: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        self.failures: Counter[str] = Counter()
        self.answered_at_s: list[float] = []
        self.answered_by: Counter[str] = Counter()
        self.slowest_s = 0.0

    @property
    def reads(self) -> int:
        """Calls that were answered."""
        return len(self.answered_at_s)

    @property
    def failed_reads(self) -> int:
        """Calls that were not."""
        return sum(self.failures.values())

    def longest_gap_ms(self, since_s: float = 0.0, until_s: float = float("inf")) -> float:
        """The longest time without an answer, in milliseconds, within a stretch of the monotonic clock."""
        times = [time_s for time_s in self.answered_at_s if since_s <= time_s <= until_s]
        return max((later - earlier) * 1e3 for earlier, later in itertools.pairwise(times))

    async def _read(self) -> None:
        request = report_pb2.GetMemberRequest(member_id=self._random.choice(self._member_ids))
        asked_at_s = time.monotonic()
        try:
            answer = await self._stub.GetMember(request, timeout=self._deadline_s)
        except grpc.aio.AioRpcError as error:
            self.failures[f"{error.code().name}: {error.details()}"] += 1
            return
        self.answered_at_s.append(time.monotonic())
        self.slowest_s = max(self.slowest_s, self.answered_at_s[-1] - asked_at_s)
        self.answered_by[answer.as_of.node] += 1

    async def _run(self) -> None:
        due_s = time.monotonic()
        while True:
            due_s += 1 / self._rate_per_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            call = asyncio.create_task(self._read())
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def __aenter__(self) -> ReadLoad:
        self._loop = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.cancel()
        await asyncio.gather(self._loop, *self._calls, return_exceptions=True)
