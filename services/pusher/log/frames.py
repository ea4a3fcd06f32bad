"""Runs of log records as bytes: encoded once when they are appended, then only copied, cut and checked.

A frame is one record as `services.shared.wire.record` makes it. A `Run` is the frames of consecutive positions, one
after another: exactly the `records` of an `ApplyUpdatesRequest` or a `ReadLogResponse`, encoded.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from google.protobuf.message import DecodeError

from fasttree.v1 import treenode_pb2
from services.shared.wire.fields import varint
from services.shared.wire.record import RecordDamagedError, check_record


@dataclass(frozen=True, slots=True)
class Run:
    """Frames of consecutive positions.

    Attributes:
        first_position: Of the first record.
        ends: Offset in `data` behind each record's frame, ascending; uint32, one for each record, so never empty.
        data: The frames.
    """

    first_position: int
    ends: array[int]
    data: bytes

    @property
    def last_position(self) -> int:
        return self.first_position + len(self.ends) - 1

    def cut(self, first_position: int, last_position: int, bytes_max: int) -> Run:
        """The part from `first_position` to `last_position`, at most `bytes_max` long but at least one record."""
        begin = first_position - self.first_position
        end = min(last_position - self.first_position + 1, len(self.ends))
        start = self.ends[begin - 1] if begin else 0
        if self.ends[end - 1] - start > bytes_max:
            end = max(bisect_right(self.ends, start + bytes_max, begin, end), begin + 1)
        if begin == 0 and end == len(self.ends):
            return self
        ends = self.ends[begin:end]
        if start:
            ends = array("I", [offset - start for offset in ends])
        return Run(first_position, ends, self.data[start : self.ends[end - 1]])


def run_of(first_position: int, frames: Sequence[bytes]) -> Run:
    """Consecutive frames as a run."""
    return Run(first_position, array("I", accumulate(map(len, frames))), b"".join(frames))


def join_runs(runs: Sequence[Run]) -> Run:
    """Runs that follow each other, as one."""
    if len(runs) == 1:
        return runs[0]
    ends = array("I")
    offset = 0
    for run in runs:
        ends.extend([offset + end for end in run.ends] if offset else run.ends)
        offset += len(run.data)
    return Run(runs[0].first_position, ends, b"".join(run.data for run in runs))


def check_run(first_position: int, data: bytes) -> Run:
    """Frames as they came from a disk, as a run: every checksum verified, and that positions follow each other.

    Raises:
        RecordDamagedError: A record is damaged, missing or out of order. Names its position.
    """
    try:
        records = treenode_pb2.ApplyUpdatesRequest.FromString(data).records
    except DecodeError as error:
        raise RecordDamagedError(
            f"log record at position {first_position} is damaged, or one after it: {error}"
        ) from error
    ends = array("I")
    offset, position = 0, first_position
    for record in records:
        if record.position != position:
            raise RecordDamagedError(f"log record at position {position} is damaged: it says it is {record.position}")
        check_record(record)
        size = record.ByteSize()
        offset += 1 + len(varint(size)) + size
        ends.append(offset)
        position += 1
    if offset != len(data):
        raise RecordDamagedError(
            f"log record at position {position} is damaged: {len(data) - offset} bytes are no record"
        )
    return Run(first_position, ends, data)


def update_bytes(position: int, frame: bytes) -> bytes:
    """The encoded update in one frame.

    Raises:
        RecordDamagedError: The frame is damaged.
    """
    run = check_run(position, frame)
    if len(run.ends) != 1:
        raise RecordDamagedError(
            f"log record at position {position} is damaged: its frame holds {len(run.ends)} records"
        )
    return treenode_pb2.ApplyUpdatesRequest.FromString(frame).records[0].update


def sound_updates(frames: Iterable[tuple[int, bytes]], tell: Callable[[str], None]) -> list[tuple[int, bytes]]:
    """Position and encoded update of each frame, given with its position, that is sound; the others are told."""
    found: list[tuple[int, bytes]] = []
    for position, frame in frames:
        try:
            found.append((position, update_bytes(position, frame)))
        except RecordDamagedError as error:
            tell(str(error))
    return found
