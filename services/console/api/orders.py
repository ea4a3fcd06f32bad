"""Orders as they come, to whoever sees their members."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Final

from aiohttp import web

from fasttree.client import Client, FastTreeClientError
from services.console.http.events import EventStream, GoneError, StalledError
from services.console.http.guarding import in_name
from services.console.orders.following import NewOrders, Order
from services.console.orders.sight import Sight
from services.console.settings import ViewerSettings

#: Of the records that came between two words to a browser, those that are looked at.
_LOOKED_AT_MAX: Final = 200
#: A browser that hears nothing takes the console to be away.
_BEAT_S: Final = 5.0
_ID_MAX: Final = 32


class OrderPages:
    """Of everybody who sees a downline."""

    def __init__(self, client: Client, settings: ViewerSettings, again_s: float) -> None:
        self._client = client
        self._settings = settings
        self._new = NewOrders(client, again_s)
        self._ending = asyncio.Event()
        #: Browsers that look now.
        self.count = 0

    def routes(self) -> Iterator[web.RouteDef]:
        """Where they are."""
        yield web.get("/api/orders", self._follow)

    def end(self) -> None:
        """Lets all go."""
        self._ending.set()

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        """Events "orders", until the browser goes, or may look no more."""
        reports = in_name(request, self._client).reports
        await reports.describe_tree()  # who may see nothing is refused before anything is sent
        if self.count >= self._settings.viewers_max:
            raise web.HTTPServiceUnavailable(
                text=f"{self.count} browsers look at orders already: close one, or raise console.viewers_max"
            )
        self.count += 1
        try:
            stream = EventStream(self._settings.stall_s)
            await stream.response.prepare(request)
            sight = Sight(reports, request.query.get("below", "")[:_ID_MAX])
            telling = asyncio.create_task(self._tell(stream, sight))
            ending = asyncio.create_task(self._ending.wait())
            try:
                await asyncio.wait({telling, ending}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                telling.cancel()
                ending.cancel()
                await asyncio.gather(telling, ending, return_exceptions=True)
            return stream.response
        finally:
            self.count -= 1

    async def _tell(self, stream: EventStream, sight: Sight) -> None:
        seen = 0
        with self._new.looking():
            while True:
                grown = self._new.grown
                orders, skipped, seen = self._new.after(seen, _LOOKED_AT_MAX)
                try:
                    shown = await sight.of(orders)
                    await stream.send(("orders", {"orders": [_json(one) for one in shown], "skipped": skipped}))
                except (FastTreeClientError, GoneError, StalledError):
                    return  # it asks again by itself, and is told then why it may not
                await asyncio.sleep(self._settings.orders_s)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_BEAT_S):
                        await grown.wait()


def _json(order: Order) -> dict[str, Any]:
    return {
        "position": order.position,
        "at": order.at_ms,
        "member_id": order.member_id,
        "amount_hundredths": order.amount_hundredths,
        "volume_type": order.volume_type,
        "period": order.period,
    }
