"""Updates that were not applied at their position: held, and what becomes of them; rejected. The rules' periods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from aiohttp import web

from fasttree.client import Client, FailedPreconditionError, PushOptions
from fasttree.client.forms.members import as_of_json
from fasttree.client.forms.update_ids import new_id
from fasttree.client.settling import settle_held
from fasttree.client.status.periods import period_rows
from fasttree.v1 import pusher_pb2, report_pb2, types_pb2
from services.console.http.answers import AskError, asked, json_answer, text_of
from services.console.http.guarding import SEE_CLUSTER, SEE_UPDATES, check_may, in_name

_PAGE: Final = 200
_ACTIONS: Final = {"drop": types_pb2.HELD_ACTION_DROP, "retry": types_pb2.HELD_ACTION_RETRY}


class UpdatePages:
    """Of operators."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def routes(self) -> Iterator[web.RouteDef]:
        """Where they are."""
        yield web.get("/api/held", self._held)
        yield web.post("/api/held", self._settle)
        yield web.get("/api/rejected", self._rejected)
        yield web.get("/api/periods", self._periods)
        yield web.post("/api/periods", self._change)

    async def _held(self, request: web.Request) -> web.Response:
        check_may(request, SEE_UPDATES)
        token, member_id = request.query.get("page_token", ""), request.query.get("member_id", "")
        return _listed(await self._client.reports.list_held_updates(limit=_PAGE, page_token=token, member_id=member_id))

    async def _rejected(self, request: web.Request) -> web.Response:
        check_may(request, SEE_UPDATES)
        token, prefix = request.query.get("page_token", ""), request.query.get("update_id", "")
        return _listed(
            await self._client.reports.list_rejected_updates(limit=_PAGE, page_token=token, update_id_prefix=prefix)
        )

    async def _settle(self, request: web.Request) -> web.Response:
        client = in_name(request, self._client)
        body = await asked(request)
        action = _ACTIONS.get(text_of(body, "action"))
        position, member_id = body.get("position", 0), text_of(body, "member_id", 32)
        if action is None:
            raise AskError("action must be drop or retry")
        if not isinstance(position, int) or not 0 <= position < 1 << 63 or bool(position) == bool(member_id):
            raise AskError("name the held updates: a position, or a member_id")
        receipt = await settle_held(client, action, text_of(body, "reason"), position=position, member_id=member_id)
        return json_answer({"update_id": receipt.update_id, "position": receipt.position})

    async def _periods(self, request: web.Request) -> web.Response:
        check_may(request, SEE_CLUSTER)
        return json_answer(_rules_json((await self._client.get_pusher()).rules))

    async def _change(self, request: web.Request) -> web.Response:
        """Opens a period, makes one current, or closes one: an update as `fasttree period` makes it."""
        client = in_name(request, self._client)
        body = await asked(request)
        action, month = text_of(body, "action"), text_of(body, "period", 7)
        update = types_pb2.Update(update_id=new_id(f"period-{action}-{month}"))
        if action in ("open", "current"):
            update.period_opened.CopyFrom(types_pb2.PeriodOpened(period=month, becomes_current=action == "current"))
        elif action == "close":
            late_until = text_of(body, "late_until", 10)
            update.period_closed.CopyFrom(types_pb2.PeriodClosed(period=month, late_until=late_until))
        else:
            raise AskError("action must be open, current or close")
        (receipt,) = [receipt async for receipt in client.push([update], PushOptions())]
        if receipt.code:
            raise FailedPreconditionError(_reason(receipt))
        return json_answer({"position": receipt.position, **_rules_json((await self._client.get_pusher()).rules)})


def _reason(receipt: pusher_pb2.Receipt) -> str:
    return receipt.message.partition("; nothing was stored")[0]


def _rules_json(rules: types_pb2.Rules) -> dict[str, Any]:
    return {
        "periods": [{"period": name, "state": state, "late_until": until} for name, state, until in period_rows(rules)],
        "volume_types": list(rules.volume_types),
    }


def _listed(page: report_pb2.ListHeldUpdatesResponse | report_pb2.ListRejectedUpdatesResponse) -> web.Response:
    return json_answer(
        {
            "as_of": as_of_json(page.as_of),
            "total_count": page.total_count,
            "next_page_token": page.next_page_token,
            "updates": [
                {
                    "position": update.position,
                    "update_id": update.update_id,
                    "reason": update.reason,
                    "waits_for": update.waits_for_member_id,
                }
                for update in page.updates
            ],
        }
    )
