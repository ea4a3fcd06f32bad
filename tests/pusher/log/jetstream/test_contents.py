"""What a log is by its messages: the rules of `contents.py`, and the index of ids that it fills, without any server."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from services.pusher.log.fencing.fence import Fence
from services.pusher.log.ids.keys import content_hash, keys_of
from services.pusher.log.ids.runs import Entries
from services.pusher.log.jetstream.contents import LogContents, entries_bytes
from services.pusher.log.jetstream.index import IdIndex
from services.pusher.log.jetstream.messages import (
    Claim,
    Draft,
    Founding,
    Kind,
    Message,
    decode,
    record_drafts,
)
from services.pusher.log.store import LogDamagedError, LogEnds
from services.shared.wire.record import encode_frames
from tests.pusher.updates import ids_and_contents, orders


class Stream:
    """Messages as a stream has them, and everybody who reads it: one that saw all, others that come later."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.messages: dict[int, bytes] = {}
        self.last = 0
        self.number = 0
        self.claims = 0
        self.seen = self._reader()

    def _reader(self) -> LogContents:
        return LogContents(IdIndex(self._folder / f"ids-{len(list(self._folder.iterdir()))}", recent_max=8))

    def group(self, *drafts: Draft, claims: int | None = None, dies_after: int | None = None) -> None:
        """A group as a writer sends it, or the first messages of it."""
        group = self.last
        for index, draft in enumerate(drafts[:dies_after]):
            self.number += draft.kind not in (Kind.RECORDS, Kind.SPARE)
            self.claims += draft.kind is Kind.CLAIM
            count = self.claims if claims is None else claims
            message = Message(draft, count, self.last, group, self.number, 0.0, index == len(drafts) - 1)
            self.store(message)

    def store(self, message: Message) -> None:
        self.last += 1
        self.messages[self.last] = data = message.encode()
        self.seen.add(self.last, decode(self.last, data), len(data))

    def read(self) -> LogContents:
        """As one reads it that comes now."""
        found = self._reader()
        for sequence, data in sorted(self.messages.items()):
            found.add(sequence, decode(sequence, data), len(data))
        return found


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    made = Stream(tmp_path)
    made.group(Draft(Kind.FOUNDING, body=msgspec.json.encode(Founding(1, "test", "a log"))))
    made.group(claim(1, "a"))
    return made


def claim(epoch: int, holder: str) -> Draft:
    return Draft(Kind.CLAIM, body=msgspec.json.encode(Claim(epoch, holder)))


def records(first: int, count: int) -> list[Draft]:
    """Order `first` has that position, and so on."""
    ids, contents = ids_and_contents(orders(first, count))
    return record_drafts(first, ids, [content_hash(content) for content in contents], encode_frames(first, contents))


def trimmed(first: int, end: int) -> list[Draft]:
    ids, contents = ids_and_contents(orders(first, end - first))
    keys = keys_of(ids)
    hashes = np.array([content_hash(content) for content in contents], dtype=np.uint64)
    entries = Entries(keys.high, keys.low, hashes, np.arange(first, end, dtype=np.uint64))
    return [Draft(Kind.IDS, body=entries_bytes(entries)), Draft(Kind.TRIM, end)]


def known(contents: LogContents, first: int, end: int) -> list[int]:
    found = contents.ids.find([f"order-{number}" for number in range(first, end)])
    return sorted(position for position, _ in found.values())


def test_everybody_reads_the_same(stream: Stream) -> None:
    for first in range(1, 40, 3):
        stream.group(*records(first, 3), Draft(Kind.RULE, first, body=b"rule"))
    for reader in (stream.seen, stream.read()):
        assert reader.ends == LogEnds(1, 39)
        assert reader.fence == Fence(1, "a", 1)
        assert sorted(reader.rules) == list(range(1, 40, 3))
        assert known(reader, 0, 50) == list(range(1, 40))  # in memory and in files


def test_a_group_without_its_end_counts_for_nobody(stream: Stream) -> None:
    stream.group(*records(1, 2))
    stream.group(*records(3, 2), Draft(Kind.RULE, 3, body=b"rule"), dies_after=1)
    stream.group(Draft(Kind.RULE, 2, body=b"half"), *records(3, 1), dies_after=1)
    assert stream.seen.ends == LogEnds(1, 2)
    stream.group(*records(3, 4))
    for reader in (stream.seen, stream.read()):
        assert reader.ends == LogEnds(1, 6)
        assert reader.rules == {}
        assert known(reader, 0, 20) == [1, 2, 3, 4, 5, 6]


def test_what_a_deposed_writer_still_gets_in_means_nothing(stream: Stream) -> None:
    """Its first message found the claim in its place; the second one follows just that claim."""
    stream.group(*records(1, 2))
    group, number = stream.last, stream.number
    stream.group(claim(2, "b"))
    stray = Draft(Kind.RULE, 3, body=b"rule")
    stream.store(Message(stray, 1, stream.last, group, number + 1, 0.0, closes=True))
    stream.group(*records(3, 1))
    for reader in (stream.seen, stream.read()):
        assert reader.ends == LogEnds(1, 3)
        assert reader.rules == {}
        assert reader.fence == Fence(2, "b", 2)


def test_ids_of_records_that_are_purged_come_with_the_trim(stream: Stream) -> None:
    for first in range(1, 31, 10):
        stream.group(*records(first, 10))
    stream.group(*trimmed(1, 16))
    del stream.messages[3]  # of the first ten; the next message is needed still
    stream.group(*records(31, 5))
    for reader in (stream.seen, stream.read()):
        assert reader.ends == LogEnds(16, 35)
        assert reader.missing() is None
        assert known(reader, 0, 50) == list(range(1, 36))
        assert [place.sequence for place in reader.places.find(16, 35, 1 << 20)] == [4, 5, 8]


def test_who_reads_in_the_middle_of_it_is_none_the_wiser_for_it(stream: Stream) -> None:
    """The purge was there before the trim was read."""
    stream.group(*records(1, 10))
    reader = stream.read()
    stream.group(*records(11, 10))
    stream.group(*records(21, 10))
    stream.group(*trimmed(1, 21))
    del stream.messages[3], stream.messages[4]
    for sequence in range(5, stream.last + 1):
        reader.add(sequence, decode(sequence, stream.messages[sequence]), 0)
    assert reader.missing() is None
    assert reader.ends == LogEnds(21, 30)
    assert known(reader, 0, 50) == list(range(1, 31))


def test_records_that_are_missing_are_named(stream: Stream) -> None:
    for first in range(1, 31, 10):
        stream.group(*records(first, 10))
    del stream.messages[4]
    assert stream.read().missing() == (11, 20)


@pytest.mark.parametrize("sequence", [1, 3])
def test_state_that_is_missing_is_noticed(stream: Stream, sequence: int) -> None:
    stream.group(Draft(Kind.RULE, 1, body=b"rule"))
    stream.group(*records(1, 1))
    del stream.messages[sequence]
    with pytest.raises(LogDamagedError, match="lacks messages of state"):
        stream.read()


def test_a_claim_that_is_missing_is_noticed(stream: Stream) -> None:
    stream.group(*records(1, 1))
    del stream.messages[2]
    with pytest.raises(LogDamagedError, match="a claim that is missing"):
        stream.read()


def test_every_bit_of_a_message_but_a_frame_is_checked_and_its_place_too(stream: Stream) -> None:
    stream.group(Draft(Kind.RULE, 1, body=b"rule"))
    data = stream.messages[3]
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(LogDamagedError):
            decode(3, bytes(flipped))
    unknown = Message(Draft(12, body=b"x"), 1, 3, 3, 4, 0.0, closes=True)  # type: ignore[arg-type]
    with pytest.raises(LogDamagedError, match="use a newer version"):
        decode(4, unknown.encode())
    for sequence, short in ((4, data), (3, data[:-1]), (3, data[:20]), (3, b"")):
        with pytest.raises(LogDamagedError):
            decode(sequence, short)


def test_an_index_without_a_disk_stays_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder can be here")
    index = IdIndex(tmp_path / "file" / "ids", recent_max=4)
    for first in range(1, 20, 3):
        ids, contents = ids_and_contents(orders(first, 3))
        index.add(first, ids, [content_hash(content) for content in contents])
    keys = keys_of(["gone"])
    index.add_entries(Entries(keys.high, keys.low, np.array([7], np.uint64), np.array([99], np.uint64)))
    found = index.find([*(f"order-{number}" for number in range(30)), "gone"])
    assert sorted(position for position, _ in found.values()) == [*range(1, 22), 99]
    assert caplog.text.count("stays in memory") == 1


def test_pushers_that_share_a_folder_have_an_index_each(tmp_path: Path) -> None:
    """And what one leaves that ends without a word goes with the next one that begins."""
    (tmp_path / "00000001.ids").write_bytes(b"of an earlier version")
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "00000001.ids").write_bytes(b"of one that was killed")
    ids, contents = ids_and_contents(orders(1, 30))
    hashes = [content_hash(content) for content in contents]
    indexes = [IdIndex(tmp_path, recent_max=10) for _ in range(2)]
    for at in range(0, 30, 10):
        for index in indexes:
            index.add(at + 1, ids[at : at + 10], hashes[at : at + 10])
    for index in indexes:
        assert [path.name for path in sorted(index.folder.iterdir())] == [
            f"0000000{number}.ids" for number in (1, 2, 3)
        ]
        assert len(index.find(ids)) == 30
    assert set(tmp_path.iterdir()) == {index.folder for index in indexes}
    indexes[0].close()
    assert list(tmp_path.iterdir()) == [indexes[1].folder]
    assert len(indexes[1].find(ids)) == 30


def test_many_files_of_ids_are_merged(tmp_path: Path) -> None:
    index = IdIndex(tmp_path / "ids", recent_max=10)
    for first in range(1, 1001, 10):
        ids, contents = ids_and_contents(orders(first, 10))
        index.add(first, ids, [content_hash(content) for content in contents])
    assert len(list(index.folder.glob("*.ids"))) < 40
    while (take_merged := index.merge(bool)) is not None:
        take_merged()
    found = index.find([f"order-{number}" for number in range(2000)])
    assert sorted(position for position, _ in found.values()) == list(range(1, 1001))
    for path in index.folder.glob("*.ids"):
        with path.open("r+b") as file:
            file.seek(40)
            file.write(b"other bytes")
    for check in index.checks(1 << 20):
        with pytest.raises(LogDamagedError, match="damaged at byte 32; start this pusher anew"):
            check()
