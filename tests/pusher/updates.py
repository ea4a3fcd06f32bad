"""Updates to push, made from numbers."""

from __future__ import annotations

from fasttree.v1 import types_pb2
from services.shared.wire.record import content_bytes


def order(number: int, amount_hundredths: int = 100) -> types_pb2.Update:
    """An order, `order-NUMBER`."""
    return types_pb2.Update(
        update_id=f"order-{number}",
        volume_posted=types_pb2.VolumePosted(member_id=f"M{number % 100}", amount_hundredths=amount_hundredths),
    )


def orders(first: int, count: int) -> list[types_pb2.Update]:
    return [order(number) for number in range(first, first + count)]


def ids_and_contents(updates: list[types_pb2.Update]) -> tuple[list[str], list[bytes]]:
    """What a log store's `append` takes."""
    return [update.update_id for update in updates], [content_bytes(update) for update in updates]
