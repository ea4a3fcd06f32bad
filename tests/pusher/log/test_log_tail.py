"""The newest records in memory."""

from __future__ import annotations

from services.pusher.log.frames import run_of
from services.pusher.log.memory import MemoryLog
from services.pusher.log.tail import LogTail
from services.shared.wire.record import encode_frames

COUNT = 500
FRAMES = encode_frames(1, [b"update %d" % number for number in range(COUNT)])


def test_many_small_runs_read_as_what_was_added() -> None:
    tail = LogTail(MemoryLog().claim_alone(), 1 << 20)
    for index, frame in enumerate(FRAMES):
        tail.add(run_of(index + 1, [frame]))
        assert tail.size_bytes == sum(map(len, FRAMES[: index + 1]))
        for first in (1, index // 2 + 1, index + 1):
            run = tail.recent(first, index + 1, 1 << 20)
            assert run is not None
            assert (run.first_position, run.last_position) == (first, index + 1)
            assert run.data == b"".join(FRAMES[first - 1 : index + 1])


def test_small_and_large_runs_in_turn() -> None:
    tail = LogTail(MemoryLog().claim_alone(), 1 << 20)
    large = encode_frames(1, [bytes([1]) * 20_000])[0]
    frames: list[bytes] = []
    for index in range(200):
        frames.append(large if index % 7 == 0 else FRAMES[index])
        tail.add(run_of(index + 1, [frames[-1]]))
    run = tail.recent(1, 200, 1 << 30)
    assert run is not None
    assert run.data == b"".join(frames)


def test_the_tail_forgets_the_oldest_and_keeps_its_limit() -> None:
    tail = LogTail(MemoryLog().claim_alone(), 2_000)
    for index, frame in enumerate(FRAMES):
        tail.add(run_of(index + 1, [frame]))
    assert tail.size_bytes <= 2_000
    assert tail.recent(1, 1, 100) is None
    newest = tail.recent(COUNT, COUNT, 100)
    assert newest is not None
    assert newest.data == FRAMES[-1]
