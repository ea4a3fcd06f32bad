"""Log records: what was written comes back, and what was not is found."""

import pytest
from google.protobuf import json_format

from fasttree.v1 import pusher_pb2, treenode_pb2, types_pb2
from services.shared.wire.record import RecordDamagedError, check_record, content_bytes, encode_frame, update_problem


def order(update_id: str = "o-1", member_id: str = "7", amount: int = 100) -> types_pb2.Update:
    return types_pb2.Update(
        update_id=update_id, volume_posted=types_pb2.VolumePosted(member_id=member_id, amount_hundredths=amount)
    )


def parsed(**change: object) -> types_pb2.Update:
    return json_format.ParseDict({"update_id": "x", **change}, types_pb2.Update())


def test_frames_joined_are_a_batch() -> None:
    bodies = [content_bytes(order(f"o-{i}", "m" * (i % 32 + 1), i)) for i in range(200)]
    batch = treenode_pb2.ApplyUpdatesRequest.FromString(b"".join(encode_frame(i + 1, b) for i, b in enumerate(bodies)))
    assert [record.position for record in batch.records] == list(range(1, 201))
    assert [record.update for record in batch.records] == bodies
    for record in batch.records:
        check_record(record)


def test_every_flipped_bit_of_a_record_is_found() -> None:
    frame = encode_frame(9, content_bytes(order()))
    body = pusher_pb2.ReadLogResponse.FromString(frame).records[0]
    for bit in range(len(body.update) * 8):
        damaged = bytearray(body.update)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RecordDamagedError, match="position 9"):
            check_record(treenode_pb2.LogRecord(position=9, update=bytes(damaged), crc32=body.crc32))
    with pytest.raises(RecordDamagedError):
        check_record(treenode_pb2.LogRecord(position=8, update=body.update, crc32=body.crc32))


def test_good_updates_have_no_problem() -> None:
    enrolled = types_pb2.MemberEnrolled(member_id="8", sponsor_id="7", joined_on="2024-02-29", rank=3, status="A")
    moved = types_pb2.MemberMoved(member_id="8", new_parent_id="7", tree=types_pb2.TREE_PLACEMENT, placement_leg=2)
    for update in (
        order(),
        types_pb2.Update(update_id="e", member_enrolled=enrolled),
        types_pb2.Update(update_id="c", member_changed=types_pb2.MemberChanged(member_id="8", rank=4)),
        types_pb2.Update(update_id="m", member_moved=moved),
        types_pb2.Update(update_id="r", member_removed=types_pb2.MemberRemoved(member_id="8")),
    ):
        assert update_problem(update) is None


@pytest.mark.parametrize(
    ("update", "said"),
    [
        (types_pb2.Update(update_id="x"), "holds no change"),
        (order(update_id=""), "update_id"),
        (order(update_id="u" * 65), "update_id"),
        (order(member_id=""), "member_id"),
        (order(member_id="m" * 33), "member_id"),
        (order(member_id=" 7"), "member_id"),
        (order(member_id="7\n"), "member_id"),
        (order(member_id="é"), "member_id"),
        (order(amount=2**63 - 1), "amount_hundredths"),
        (parsed(volume_posted={"member_id": "7", "period": "2026-13"}), "period"),
        (parsed(member_enrolled={"member_id": "7", "joined_on": "2023-02-29"}), "joined_on"),
        (parsed(member_enrolled={"member_id": "7", "rank": -1}), "rank"),
        (parsed(member_enrolled={"member_id": "7", "placement_leg": 1}), "placement_leg"),
        (parsed(member_enrolled={"member_id": "7", "columns": {"c": "x" * 300}}), "column c"),
        (parsed(member_changed={"member_id": "7", "status": "s" * 17}), "status"),
        (parsed(member_moved={"member_id": "7", "tree": 9}), "tree"),
        (parsed(member_removed={"member_id": "7", "mode": 9}), "mode"),
    ],
)
def test_malformed_updates_are_named(update: types_pb2.Update, said: str) -> None:
    problem = update_problem(update)
    assert problem is not None
    assert said in problem
