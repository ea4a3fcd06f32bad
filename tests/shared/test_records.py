"""Log records and file chunks: what was written comes back, and what was not is found."""

from pathlib import Path

import pytest
from google.protobuf import json_format

from fasttree.v1 import pusher_pb2, treenode_pb2, types_pb2
from services.shared.files.chunks import ChunkDamagedError, ChunkWriter, file_sha256, iter_chunks, make_chunk
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


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole"
    path.write_bytes(bytes(i * 7 % 256 for i in range(10_000)))
    return path


def test_a_transfer_goes_on_where_it_stopped(whole: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.part"
    writer = ChunkWriter(target, 10_000)
    chunks = iter_chunks(whole, 0, 10_000, chunk_bytes=1_000)
    for _ in range(4):
        writer.write(next(chunks))
    writer.close()
    writer = ChunkWriter(target, 10_000)
    assert writer.offset == 4_000
    for chunk in iter_chunks(whole, writer.offset, 10_000, chunk_bytes=999):
        writer.write(chunk)
    assert writer.finish(file_sha256(whole)) == file_sha256(whole)
    assert target.read_bytes() == whole.read_bytes()


def test_damaged_chunks_change_nothing(whole: Path, tmp_path: Path) -> None:
    writer = ChunkWriter(tmp_path / "target.part", 10_000)
    chunk = next(iter_chunks(whole, 0, 10_000, chunk_bytes=1_000))
    wrong_bytes = types_pb2.Chunk(offset=0, data=b"x" + chunk.data[1:], crc32=chunk.crc32)
    for wrong in (wrong_bytes, make_chunk(5, chunk.data), make_chunk(0, b""), make_chunk(0, b"x" * 10_001)):
        with pytest.raises(ChunkDamagedError):
            writer.write(wrong)
    writer.write(chunk)
    assert writer.offset == 1_000
    with pytest.raises(ChunkDamagedError, match="1000 of 10000"):
        writer.finish(b"")


def test_a_wrong_whole_is_refused_and_removed(whole: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.part"
    writer = ChunkWriter(target, 10_000)
    for chunk in iter_chunks(whole, 0, 10_000):
        writer.write(chunk)
    with pytest.raises(ChunkDamagedError, match="SHA-256"):
        writer.finish(b"\0" * 32)
    assert not target.exists()


def test_a_file_shorter_than_announced_is_refused(whole: Path) -> None:
    with pytest.raises(ChunkDamagedError, match="10000"):
        list(iter_chunks(whole, 9_000, 20_000))
