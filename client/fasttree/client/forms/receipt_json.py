"""Receipts as JSON, for programs."""

from __future__ import annotations

from typing import TypedDict

from fasttree.v1 import pusher_pb2, types_pb2

OUTCOMES = {
    types_pb2.OUTCOME_APPLIED: "applied",
    types_pb2.OUTCOME_HELD: "held",
    types_pb2.OUTCOME_REJECTED: "rejected",
}


class ReceiptJson(TypedDict):
    """What the pusher says of one update; `code`: 0, or of gRPC why it was refused."""

    update_id: str
    position: int
    duplicate: bool
    outcome: str
    code: int
    message: str


def receipt_json(receipt: pusher_pb2.Receipt) -> ReceiptJson:
    """One receipt as an object."""
    return {
        "update_id": receipt.update_id,
        "position": receipt.position,
        "duplicate": receipt.duplicate,
        "outcome": OUTCOMES.get(receipt.outcome, ""),
        "code": receipt.code,
        "message": receipt.message,
    }
