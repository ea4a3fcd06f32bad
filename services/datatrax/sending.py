"""The way of single updates to the pusher: one stream for whoever has some, and each one's receipt back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator

from fasttree.client import CallError, Client, PushOptions
from fasttree.v1 import pusher_pb2, types_pb2

logger = logging.getLogger(__name__)
#: gRPC's number for it, as in receipts.
_UNAVAILABLE = 14
_AGAIN = "whether it was taken is not known: push it again, the same id counts once"


class Sender:
    """Takes updates, and tells their receipts. `run` is its life."""

    def __init__(self, client: Client, options: PushOptions, waiting_max: int) -> None:
        self._client, self._options = client, options
        self._queue: asyncio.Queue[tuple[types_pb2.Update, asyncio.Future[pusher_pb2.Receipt]]] = asyncio.Queue(
            waiting_max
        )
        #: Those on their way, in order.
        self._unanswered: deque[tuple[types_pb2.Update, asyncio.Future[pusher_pb2.Receipt]]] = deque()
        self.receipts = 0
        #: Why there is no way to the pusher now; empty: there is, as far as is known.
        self.problem = ""

    async def send(self, update: types_pb2.Update) -> asyncio.Future[pusher_pb2.Receipt]:
        """Puts it behind those before, once there is room. What it returns becomes the receipt, also where the pusher
        gives none: then with a code that says to try again."""
        told: asyncio.Future[pusher_pb2.Receipt] = asyncio.get_running_loop().create_future()
        await self._queue.put((update, told))
        return told

    async def run(self) -> None:
        """For as long as the process runs."""
        try:
            while True:
                try:
                    async for receipt in self._client.push(self._updates(), self._options):
                        self.problem = ""
                        self.receipts += 1
                        _tell(self._unanswered.popleft()[1], receipt)
                except CallError as error:
                    if not self.problem:
                        logger.error("no way to the pusher: %s", error)
                    self.problem = str(error)
                    self._give_up(self.problem)
        finally:
            self._give_up("this service ends")

    async def _updates(self) -> AsyncIterator[types_pb2.Update]:
        while True:
            waiting = await self._queue.get()
            self._unanswered.append(waiting)
            yield waiting[0]

    def _give_up(self, reason: str) -> None:
        """Those that are on their way; what waits behind them is tried anew."""
        while self._unanswered:
            update, told = self._unanswered.popleft()
            _tell(
                told,
                pusher_pb2.Receipt(update_id=update.update_id, code=_UNAVAILABLE, message=f"{reason}; {_AGAIN}"),
            )


def _tell(told: asyncio.Future[pusher_pb2.Receipt], receipt: pusher_pb2.Receipt) -> None:
    if not told.done():  # whoever asked may be gone
        told.set_result(receipt)
