"""Whether a cluster whose parts all answer takes pushes, and why not."""

from __future__ import annotations

import asyncio
import time

from fasttree.client import CallError, Client, Endpoints, Retries
from fasttree.client.status.cluster import status_json
from fasttree.client.status.problems import problems_of
from fasttree.command.status.looking import REFUSED

#: What is asked is asked anew, so one attempt need not last long.
_ANSWER_S_MAX = 2.0
_POLL_S = 0.2
#: A reason that has stood for so long stands until somebody acts: nodes have said what they have by then, and each of
#: several pushers has read the log.
_STANDS_S = 5.0
#: One that changes all the time is told after this.
_LOOKS_S_MAX = 20.0
#: The alerts of what keeps pushes out.
_ALERTS = ("FastTreePushesRefused", "FastTreeLogDamaged", "FastTreePusherUnfit")


async def refused_because(endpoints: Endpoints) -> str:
    """Why no pushes are taken, in one line; empty where they are, which is waited for a while."""
    begun_s = since_s = time.monotonic()
    reason = ""
    async with Client(endpoints, retries=Retries(timeout_s=_ANSWER_S_MAX)) as client:
        while True:
            found, is_final = await _look(client)
            if not found or is_final:
                return found
            now_s = time.monotonic()
            if found != reason:
                reason, since_s = found, now_s
            if now_s - since_s >= _STANDS_S or now_s - begun_s >= _LOOKS_S_MAX:
                return reason
            await asyncio.sleep(_POLL_S)


async def _look(client: Client) -> tuple[str, bool]:
    """Why not, now; and whether it is known that somebody has to act."""
    view, pusher = await asyncio.gather(client.get_cluster(), client.get_pusher(), return_exceptions=True)
    for answer in (view, pusher):
        if isinstance(answer, BaseException) and not isinstance(answer, CallError):
            raise answer
    content = status_json(
        None if isinstance(view, BaseException) else view, None if isinstance(pusher, BaseException) else pusher
    )
    told = [each.text for each in problems_of(content) if each.fault and each.alert in _ALERTS]
    if isinstance(pusher, REFUSED):
        return "", True  # this command may not ask it: whoever may push, knows
    if isinstance(pusher, BaseException):
        return "; ".join(told) or f"pusher: {pusher}", False
    # One that can't open its log says so, and has no other to tell of.
    return ("; ".join(told), not pusher.log_id) if pusher.closed_reason else ("", True)
