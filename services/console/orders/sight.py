"""Which orders somebody sees: of members whom the nodes show him, below one of them where he looks at that one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from fasttree.client import InvalidArgumentError, NotFoundError, Reports
from fasttree.v1 import report_pb2
from services.console.orders.following import Order

#: How long an answer holds: a member may be placed elsewhere meanwhile.
_HOLDS_S: Final = 30.0
_REMEMBERED_MAX: Final = 10_000
#: Questions at a time.
_AT_A_TIME: Final = 8


class Sight:
    """Of one browser: it remembers for a while whom it was shown. `below`: empty, or the member who is looked at."""

    def __init__(self, reports: Reports, below: str, now_s: Callable[[], float] = time.monotonic) -> None:
        self._reports = reports
        self._below = below
        self._now_s = now_s
        self._known: dict[str, bool] = {}
        self._forgets_s = 0.0

    async def of(self, orders: Sequence[Order]) -> list[Order]:
        """Raises a FastTreeClientError, such as where the token has ended."""
        if self._now_s() >= self._forgets_s or len(self._known) > _REMEMBERED_MAX:
            self._known.clear()
            self._forgets_s = self._now_s() + _HOLDS_S
        unknown = {order.member_id for order in orders} - self._known.keys()
        if unknown:
            shown = await self._shown(unknown)
            self._known |= {member_id: member_id in shown for member_id in unknown}
        return [order for order in orders if self._known[order.member_id]]

    async def _shown(self, member_ids: Iterable[str]) -> set[str]:
        options = report_pb2.ReportOptions(columns=["member_id"])
        found = await self._reports.batch_get_members(sorted(member_ids), options=options)
        there = {member.member_id for member in found.members}
        if not self._below:
            return there
        limit = asyncio.Semaphore(_AT_A_TIME)

        async def is_below(member_id: str) -> bool:
            async with limit:
                return member_id == self._below or await self._is_below(member_id)

        ids = sorted(there)
        verdicts = await asyncio.gather(*map(is_below, ids))
        return {member_id for member_id, verdict in zip(ids, verdicts, strict=True) if verdict}

    async def _is_below(self, member_id: str) -> bool:
        options = report_pb2.ReportOptions(columns=["member_id"])
        try:
            await self._reports.list_upline(member_id, to_member_id=self._below, options=options, page_size=1)
        except (InvalidArgumentError, NotFoundError):
            return False
        return True
