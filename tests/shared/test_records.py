"""Log records: what was written comes back, and what was not is found."""

from zlib import crc32

import pytest

from fasttree.v1 import pusher_pb2, treenode_pb2, types_pb2
from services.shared.wire.record import (
    RecordDamagedError,
    check_record,
    checked_contents,
    content_bytes,
    encode_frames,
    order_bytes,
)


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


def with_checksum_0(position: int, content: bytes) -> bytes:
    """The content with four bytes behind it that bring a record's checksum to 0."""
    # One bit of the tail changes the same bits of the checksum whatever the others are: 32 equations in 32 unknowns.
    base = crc32(content + bytes(4), crc32(position.to_bytes(8, "little")))
    columns = [crc32((1 << bit).to_bytes(4, "little")) ^ crc32(bytes(4)) for bit in range(32)]
    rows: dict[int, tuple[int, int]] = {}
    for bit, column in enumerate(columns):
        bits = 1 << bit
        while column and (pivot := column.bit_length()) in rows:
            column, bits = column ^ rows[pivot][0], bits ^ rows[pivot][1]
        rows[column.bit_length()] = (column, bits)
    tail = 0
    while base:
        column, bits = rows[base.bit_length()]
        base, tail = base ^ column, tail ^ bits
    return content + tail.to_bytes(4, "little")


def test_a_checksum_of_0_is_measured_as_any_other() -> None:
    content = with_checksum_0(5, b"whatever")
    (frame,) = encode_frames(5, [content])
    batch = treenode_pb2.ApplyUpdatesRequest.FromString(frame)
    assert batch.records[0].crc32 == 0
    check_record(batch.records[0])
    assert batch.SerializeToString() == frame


def test_equal_content_is_equal_bytes() -> None:
    names = [f"column {number}" for number in range(60)]
    one, other = (
        types_pb2.Update(
            update_id="u",
            member_changed=types_pb2.MemberChanged(member_id="7", columns=dict.fromkeys(named, "x")),
        )
        for named in (names, names[::-1])
    )
    assert content_bytes(one) == content_bytes(other)


def test_an_order_is_the_same_bytes_by_either_way() -> None:
    strange = types_pb2.Update.FromString(order("o-1", "Ä 7", -5).SerializeToString() + b"\xfa\x3f\x03new\xa0\x06\x07")
    for each in (order("o-1", "7", 100), order("", "", 0), strange):
        assert order_bytes(each) == content_bytes(each)
