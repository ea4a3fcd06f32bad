"""An operator's decision about updates that are held, and whether it changed anything."""

from __future__ import annotations

import secrets

from fasttree.client.client import Client
from fasttree.client.errors import FailedPreconditionError
from fasttree.client.push import PushOptions
from fasttree.v1 import pusher_pb2, types_pb2


async def settle_held(
    client: Client,
    action: types_pb2.HeldAction.ValueType,
    reason: str,
    *,
    position: int = 0,
    member_id: str = "",
) -> pusher_pb2.Receipt:
    """Of the held update of a position or, with 0, of every one that waits for a member; returns once a node has it.

    Raises FailedPreconditionError where nothing is held there, or the decision can't be: it says why.
    """
    settled = types_pb2.HeldSettled(action=action, reason=reason)
    if position:
        settled.position = position
    else:
        settled.member_id = member_id
    name = types_pb2.HeldAction.Name(action).removeprefix("HELD_ACTION_").lower()
    update = types_pb2.Update(update_id=f"held-{name}-{secrets.token_hex(8)}", held_settled=settled)
    options = PushOptions(ack_level=pusher_pb2.ACK_LEVEL_ONE_NODE)
    (receipt,) = [receipt async for receipt in client.push([update], options)]
    if receipt.code:
        raise FailedPreconditionError(receipt.message)
    if receipt.outcome == types_pb2.OUTCOME_REJECTED:
        raise FailedPreconditionError(await _why_rejected(client, receipt))
    return receipt


async def _why_rejected(client: Client, receipt: pusher_pb2.Receipt) -> str:
    answer = await client.reports.list_rejected_updates(
        update_id_prefix=receipt.update_id, min_position=receipt.position
    )
    reasons = [update.reason for update in answer.updates]
    return reasons[0] if reasons else f"it was rejected at position {receipt.position}; `fasttree rejected` says why"
