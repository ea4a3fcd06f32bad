"""Months that end while everything else goes on: opened, closed with days for what comes late, closed for good."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from google.rpc import code_pb2

from fasttree.client import Client
from fasttree.v1 import pusher_pb2, types_pb2

OK, REFUSED = code_pb2.OK, code_pb2.FAILED_PRECONDITION


class Months:
    """Ends months in a cluster, and pushes orders of them."""

    def __init__(self, client: Client, member_id: str) -> None:
        self._client = client
        self._member_id = member_id
        self._numbers = itertools.count(1)
        #: Of what was taken.
        self.receipts: list[pusher_pb2.Receipt] = []

    async def end_one(self) -> None:
        """The next month becomes the current one; the one before takes orders while it may, and none after.

        Raises RuntimeError where the door says something else.
        """
        old = (await self._client.get_pusher()).rules.current_period
        new = f"{datetime.strptime(old, '%Y-%m') + timedelta(days=31):%Y-%m}"
        await self._push(OK, period_opened=types_pb2.PeriodOpened(period=new, becomes_current=True))
        await self._push(OK, volume_posted=self._order(old))
        late_until = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"
        await self._push(OK, period_closed=types_pb2.PeriodClosed(period=old, late_until=late_until))
        await self._push(OK, volume_posted=self._order(old))
        await self._push(OK, period_closed=types_pb2.PeriodClosed(period=old))
        number = await self._push(REFUSED, volume_posted=self._order(old))
        # It used up no id.
        await self._push(OK, number, volume_posted=self._order(new))

    def _order(self, period: str) -> types_pb2.VolumePosted:
        return types_pb2.VolumePosted(member_id=self._member_id, amount_hundredths=100, period=period)

    async def _push(
        self,
        code: int,
        number: int = 0,
        *,
        volume_posted: types_pb2.VolumePosted | None = None,
        period_opened: types_pb2.PeriodOpened | None = None,
        period_closed: types_pb2.PeriodClosed | None = None,
    ) -> int:
        """Pushes one change; the number in its id."""
        number = number or next(self._numbers)
        update = types_pb2.Update(
            update_id=f"month-{number}",
            volume_posted=volume_posted,
            period_opened=period_opened,
            period_closed=period_closed,
        )
        receipts = [receipt async for receipt in self._client.push([update])]
        if [receipt.code for receipt in receipts] != [code]:
            raise RuntimeError(f"{update} was answered by {receipts}, not by code {code}")
        if code == OK:
            self.receipts += receipts
        return number
