"""Records as updates: of many at a time, in pieces that let others have their turn."""

from __future__ import annotations

import asyncio

import pytest

from fasttree.v1 import treenode_pb2
from services.shared.wire.record import checksum
from services.treenode.replication.applying import DECODED_AT_ONCE_MAX, decode_in_pieces, decode_records
from tests.updates import posted

PIECE = DECODED_AT_ONCE_MAX


def records_of(count: int, damaged: int | None = None, content: bytes | None = None) -> list[treenode_pb2.LogRecord]:
    """So many records; the one with that index has a wrong checksum, or that content."""
    made = []
    for position in range(1, count + 1):
        update = posted(f"O-{position}", "A").SerializeToString()
        if position - 1 == damaged and content is not None:
            update = content
        record = treenode_pb2.LogRecord(position=position, update=update, crc32=checksum(position, update))
        if position - 1 == damaged and content is None:
            record.crc32 ^= 1
        made.append(record)
    return made


@pytest.mark.parametrize("content", [None, b"\xff"], ids=["checksum", "update"])
@pytest.mark.parametrize("damaged", [None, 0, PIECE - 1, PIECE, 2 * PIECE + 3])
@pytest.mark.parametrize("count", [0, 1, PIECE, PIECE + 1, 3 * PIECE])
async def test_pieces_say_what_all_in_one_say(count: int, damaged: int | None, content: bytes | None) -> None:
    records = records_of(count, damaged, content)
    *whole, damage = decode_records(records)
    *in_pieces, damage_in_pieces = await decode_in_pieces(records)
    assert in_pieces == whole
    assert str(damage_in_pieces) == str(damage)
    assert (damage is not None) == (damaged is not None and damaged < count)


async def test_others_have_their_turn_between_two_pieces() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await decode_in_pieces(records_of(PIECE))
    assert turns == 0, "a small batch waits for nobody"
    await decode_in_pieces(records_of(10 * PIECE))
    assert turns >= 9
    task.cancel()
