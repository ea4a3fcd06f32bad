"""Runs of frames: encoded as the contract says, cut and joined anywhere, damage found."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttree.v1 import pusher_pb2, treenode_pb2
from services.pusher.log.frames import check_run, join_runs, run_of
from services.pusher.log.memory import MemoryLog
from services.pusher.log.store import LogStoreError
from services.pusher.log.tail import LogTail
from services.shared.wire.record import RecordDamagedError, checksum, encode_frames

contents_lists = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=40)
positions = st.integers(1, 2**63)


def frame_by_protobuf(position: int, content: bytes) -> bytes:
    record = treenode_pb2.LogRecord(position=position, update=content, crc32=checksum(position, content))
    return treenode_pb2.ApplyUpdatesRequest(records=[record]).SerializeToString()


@given(positions, contents_lists)
def test_frames_are_what_protobuf_makes(first: int, contents: list[bytes]) -> None:
    frames = encode_frames(first, contents)
    assert frames == [frame_by_protobuf(first + index, content) for index, content in enumerate(contents)]
    joined = b"".join(frames)
    for message in (treenode_pb2.ApplyUpdatesRequest, pusher_pb2.ReadLogResponse):
        records = message.FromString(joined).records
        assert [(record.position, record.update) for record in records] == [
            (first + index, content) for index, content in enumerate(contents)
        ]


def content_with_checksum_zero(position: int) -> bytes:
    """Content whose record has the checksum 0: four bytes that undo the state of the CRC."""
    table = [zlib.crc32(bytes([value])) ^ zlib.crc32(b"\x00") for value in range(256)]
    by_top_byte = {entry >> 24: value for value, entry in enumerate(table)}
    state = zlib.crc32(struct.pack("<Q", position)) ^ 0xFFFFFFFF
    goal, indexes = 0xFFFFFFFF, []
    for _ in range(4):
        index = by_top_byte[goal >> 24]
        indexes.append(index)
        goal = ((goal ^ table[index]) << 8) & 0xFFFFFFFF
    content = bytearray()
    for index in reversed(indexes):
        content.append((state ^ index) & 0xFF)
        state = table[index] ^ (state >> 8)
    return bytes(content)


def test_a_checksum_of_zero_is_as_good_as_any() -> None:
    content = content_with_checksum_zero(9)
    assert checksum(9, content) == 0
    (frame,) = encode_frames(9, [content])
    assert frame == frame_by_protobuf(9, content)
    assert check_run(9, frame).last_position == 9


@given(contents_lists, st.data())
def test_a_cut_is_the_run_of_its_part(contents: list[bytes], data: st.DataObject) -> None:
    frames = encode_frames(100, contents)
    run = run_of(100, frames)
    assert check_run(100, run.data) == run
    first = data.draw(st.integers(100, run.last_position))
    last = data.draw(st.integers(first, run.last_position + 5))
    bytes_max = data.draw(st.integers(1, 2000))
    cut = run.cut(first, last, bytes_max)
    assert cut == run_of(first, frames[first - 100 : cut.last_position - 99])
    assert len(cut.data) <= bytes_max or len(cut.ends) == 1
    longer = sum(map(len, frames[first - 100 : cut.last_position - 98]))
    assert cut.last_position == min(last, run.last_position) or longer > bytes_max


@given(contents_lists, st.lists(st.integers(1, 40)))
def test_joining_undoes_cutting(contents: list[bytes], lengths: list[int]) -> None:
    run = run_of(7, encode_frames(7, contents))
    parts, first = [], 7
    for length in [*lengths, 40]:
        if first <= run.last_position:
            parts.append(run.cut(first, first + length - 1, 1 << 30))
            first += length
    if first > run.last_position:
        assert join_runs(parts) == run


def test_records_out_of_order_are_damage() -> None:
    first, second = encode_frames(5, [b"a", b"b"])
    with pytest.raises(RecordDamagedError, match="position 5"):
        check_run(5, second + first)
    with pytest.raises(RecordDamagedError, match="position 7"):
        check_run(5, first + second + b"\x18\x01")


async def test_the_tail_answers_from_memory_what_it_has_and_the_rest_from_the_store() -> None:
    store = MemoryLog().claim_alone()
    tail = LogTail(store, bytes_max=2000)
    for begin in range(0, 300, 10):
        appended = store.append([f"u{number}" for number in range(begin, begin + 10)], [b"content"] * 10)
        assert appended.run is not None
        tail.add(appended.run)
    assert tail.size_bytes <= 2000
    for first, last, bytes_max in (
        (295, 300, 1 << 20),
        (281, 297, 1 << 20),
        (1, 300, 1 << 20),
        (290, 300, 30),
        (299, 299, 1),
    ):
        run = await tail.read(first, last, bytes_max)
        assert run == store.read(first, last, bytes_max).cut(first, run.last_position, 1 << 30)
        assert run.first_position == first
        assert run.last_position <= last
    assert tail.disk_reads == 1
    with pytest.raises(LogStoreError):
        await tail.read(301, 301, 1)
