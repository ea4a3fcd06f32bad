"""The newest orders of the log, read while somebody looks; bounded, and gone when the console ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from fasttree.client import Client, FastTreeClientError
from fasttree.v1 import treenode_pb2, types_pb2

#: Records that are kept, whatever they are.
KEPT_MAX: Final = 2_000


class Order(NamedTuple):
    """One, or a return where the amount is negative."""

    position: int
    at_ms: int
    member_id: str
    amount_hundredths: int
    volume_type: str
    period: str


class NewOrders:
    """By the console's own certificate: who looks is asked about afterwards."""

    def __init__(self, client: Client, again_s: float) -> None:
        self._client = client
        self._again_s = again_s
        self._kept: deque[tuple[int, int, bytes]] = deque(maxlen=KEPT_MAX)
        self._log_id = ""
        #: Of the record that was read last; 0: none was.
        self._last = 0
        self._lookers = 0
        self._task: asyncio.Task[None] | None = None
        self._grown = asyncio.Event()

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """The log is read meanwhile."""
        self._lookers += 1
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="reads new orders")
        try:
            yield
        finally:
            self._lookers -= 1
            if not self._lookers and self._task is not None:
                self._task.cancel()
                self._task = None

    @property
    def grown(self) -> asyncio.Event:
        """Set once there is more than there is now."""
        return self._grown

    def after(self, seen: int, at_most: int) -> tuple[list[Order], int, int]:
        """The newest orders after a position, oldest first; how many records were passed over because they were more
        than are looked at; and the position that is seen then."""
        if seen > self._last:
            seen = 0  # positions of another log
        new = [each for each in self._kept if each[0] > seen]
        looked_at = new[-at_most:]
        orders = [order for order in map(_order_of, looked_at) if order is not None]
        return orders, len(new) - len(looked_at), self._last

    async def _run(self) -> None:
        while True:
            try:
                pusher = await self._client.get_pusher()
                end = pusher.log_end.position
                goes_on = pusher.log_id == self._log_id and 0 < self._last <= end
                if not goes_on:
                    self._kept.clear()
                    self._last = end
                self._log_id = pusher.log_id
                async for record in self._client.read_log(max(self._last + 1, end + 1 - KEPT_MAX)):
                    self._took(record)
            except FastTreeClientError:
                pass  # it is away, or has another log by now: it is asked again
            await asyncio.sleep(self._again_s)

    def _took(self, record: treenode_pb2.LogRecord) -> None:
        self._kept.append((record.position, time.time_ns() // 1_000_000, record.update))
        self._last = record.position
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()


def _order_of(kept: tuple[int, int, bytes]) -> Order | None:
    position, at_ms, content = kept
    update = types_pb2.Update.FromString(content)
    if not update.HasField("volume_posted"):
        return None
    posted = update.volume_posted
    return Order(position, at_ms, posted.member_id, posted.amount_hundredths, posted.volume_type, posted.period)
