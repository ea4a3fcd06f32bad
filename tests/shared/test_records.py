"""Log records: what was written comes back, and what was not is found."""

import pytest

from fasttree.v1 import pusher_pb2, treenode_pb2, types_pb2
from services.shared.wire.record import RecordDamagedError, check_record, checked_contents, content_bytes, encode_frames


def order(update_id: str = "o-1", member_id: str = "7", amount: int = 100) -> types_pb2.Update:
    return types_pb2.Update(
        update_id=update_id, volume_posted=types_pb2.VolumePosted(member_id=member_id, amount_hundredths=amount)
    )


def test_frames_joined_are_a_batch() -> None:
    bodies = [content_bytes(order(f"o-{i}", "m" * (i % 32 + 1), i)) for i in range(200)]
    batch = treenode_pb2.ApplyUpdatesRequest.FromString(b"".join(encode_frames(1, bodies)))
    assert [record.position for record in batch.records] == list(range(1, 201))
    assert [record.update for record in batch.records] == bodies
    for record in batch.records:
        check_record(record)


def test_every_flipped_bit_of_a_record_is_found() -> None:
    (frame,) = encode_frames(9, [content_bytes(order())])
    body = pusher_pb2.ReadLogResponse.FromString(frame).records[0]
    for bit in range(len(body.update) * 8):
        damaged = bytearray(body.update)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RecordDamagedError, match="position 9"):
            check_record(treenode_pb2.LogRecord(position=9, update=bytes(damaged), crc32=body.crc32))
    with pytest.raises(RecordDamagedError):
        check_record(treenode_pb2.LogRecord(position=8, update=body.update, crc32=body.crc32))


def test_records_before_a_damaged_one_are_read() -> None:
    bodies = [content_bytes(order(f"o-{number}")) for number in range(5)]
    batch = treenode_pb2.ApplyUpdatesRequest.FromString(b"".join(encode_frames(7, bodies)))
    assert checked_contents(batch.records) == (list(range(7, 12)), bodies, None)
    batch.records[3].crc32 ^= 1
    positions, contents, damage = checked_contents(batch.records)
    assert (positions, contents) == ([7, 8, 9], bodies[:3])
    assert "position 10" in str(damage)
