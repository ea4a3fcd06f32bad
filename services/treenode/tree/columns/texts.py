"""Texts of a further column, be they millions: bytes one after another in memory that only grows.

A row has a reference (text_hash.py): 8 bytes, and the text itself. Equal texts may share their bytes, but nothing looks
for that: there is no dictionary, and no Python object for a text. What was written is never changed, so whoever has a
reference and the texts (a copy of rows for a report, say) can read it while updates go on. A text that was replaced
stays until the tree is laid out anew, which packs the texts that rows have.

Segments are given out whole and never moved: taking a text in costs the same whatever is there already.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.treenode.tree.columns.text_hash import (
    CHUNK_BITS,
    CHUNK_BYTES,
    LENGTH_BITS,
    LENGTH_MASK,
    hash_texts,
    scratch,
)
from services.treenode.tree.columns.text_kernels import copy, pack
from services.treenode.tree.kernels.addresses import address_of
from services.treenode.tree.kernels.kernel import Int32s, Int64s, UInt8s, UInt64s

#: A new segment is as large as a sixteenth of all that is there, within these bounds.
_SEGMENT_BYTES_MAX = 64 * CHUNK_BYTES
_SEGMENT_SHARE = 16
#: References whose new place is remembered while texts are packed: those that rows share are packed once.
_REMEMBERED = 4096


class Texts:
    """The texts of one column. Only `append` changes it, and nothing that was there before."""

    def __init__(self, segments: Sequence[UInt8s] = (), dead_bytes: int = 0) -> None:
        """`segments`: as those of another one; they become this one's."""
        #: Address of each chunk of CHUNK_BYTES; a new array where it must grow.
        self.table: Int64s = np.zeros(16, np.int64)
        #: Bytes of texts that no row has any more, about: those that rows shared count each time.
        self.dead_bytes = dead_bytes
        self._segments: list[UInt8s] = []
        #: Chunks in use; bytes of the last segment that are.
        self._chunks = 0
        self._filled = 0
        self._full_bytes = 0
        for segment in segments:
            self._take(segment)
            self._filled = len(segment)

    @classmethod
    def of(cls, texts: Sequence[str]) -> tuple[Texts, Int64s]:
        """Some texts, and their references."""
        made = cls()
        return made, made.append([text.encode() for text in texts])

    @property
    def segments(self) -> list[UInt8s]:
        """All that is there, in pieces of which none is empty. They stay as they are."""
        if not self._segments:
            return []
        return [*self._segments[:-1], self._segments[-1][: self._filled]]

    @property
    def size_bytes(self) -> int:
        """All that is there."""
        return self._full_bytes + self._filled

    def append(self, texts: Sequence[bytes]) -> Int64s:
        """Takes texts in, each of LENGTH_MASK bytes at most; their references, (n,)."""
        joined = b"".join(texts)
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        if not joined:
            return lengths
        if not self._segments or self._filled + len(joined) > len(self._segments[-1]):
            wanted = min(max(self.size_bytes // _SEGMENT_SHARE, 1), _SEGMENT_BYTES_MAX)
            self._take(np.empty(chunks_of(max(wanted, len(joined))) * CHUNK_BYTES, np.uint8))
        segment = self._segments[-1]
        segment[self._filled : self._filled + len(joined)] = np.frombuffer(joined, np.uint8)
        first = ((self._chunks - chunks_of(len(segment))) << CHUNK_BITS) + self._filled
        self._filled += len(joined)
        starts = first + np.cumsum(lengths) - lengths
        return np.where(lengths, (starts << LENGTH_BITS) | lengths, 0)

    def _take(self, segment: UInt8s) -> None:
        """A further segment, of which nothing is filled yet. The one before is cut to what is filled of it, and chunks
        go on from there: so they are the same where the segments are read back.
        """
        if self._segments:
            last = self._segments[-1]
            self._segments[-1] = last[: self._filled]
            self._chunks += chunks_of(self._filled) - chunks_of(len(last))
        first, self._chunks = self._chunks, self._chunks + chunks_of(len(segment))
        if self._chunks > len(self.table):
            grown = np.zeros(2 * self._chunks, np.int64)
            grown[:first] = self.table[:first]
            self.table = grown
        self.table[first : self._chunks] = address_of(segment) + np.arange(self._chunks - first) * CHUNK_BYTES
        self._full_bytes += self._filled
        self._segments.append(segment)
        self._filled = 0

    def bytes_at(self, reference: int) -> bytes:
        """One text."""
        length = reference & LENGTH_MASK
        if not length:
            return b""
        chunk, place = divmod(reference >> LENGTH_BITS, CHUNK_BYTES)
        for segment in self._segments:
            chunks = chunks_of(len(segment))
            if chunk < chunks:
                begin = (chunk << CHUNK_BITS) + place
                return segment[begin : begin + length].tobytes()
            chunk -= chunks
        raise IndexError(f"there is no text at {reference}")

    def text_at(self, reference: int) -> str:
        """One text."""
        return self.bytes_at(reference).decode()

    def joined(self, references: Int64s) -> tuple[UInt8s, Int64s]:
        """The texts one after another, and where each begins in that, (n + 1,). Lets other threads run."""
        content = np.empty(int((references & LENGTH_MASK).sum()), np.uint8)
        offsets = np.empty(len(references) + 1, np.int64)
        copy(np.ascontiguousarray(references), self.table, content, offsets)
        return content, offsets

    def hashes(self, references: Int64s) -> UInt64s:
        """The hash of each text, (n,); 0 for the empty one. Lets other threads run, and several may ask at once."""
        out = np.empty(len(references), np.uint64)
        hash_texts(references, self.table, scratch(), out)
        return out

    def has_all(self, references: Int64s) -> bool:
        """Whether every reference leads to what is there."""
        ends = np.zeros(self._chunks + 1, np.int64)
        chunk = 0
        for segment in self.segments:
            count = chunks_of(len(segment))
            ends[chunk : chunk + count] = (chunk << CHUNK_BITS) + len(segment)
            chunk += count
        starts = references >> LENGTH_BITS
        chunks = np.minimum(starts >> CHUNK_BITS, self._chunks)
        within = starts + (references & LENGTH_MASK) <= ends[chunks]
        return bool((within & (references >= 0) | (references == 0)).all())

    def packed(self, references: Int64s, order: Int32s, out: Int64s) -> Texts:
        """The texts of the references references[order[i]] and no others; `out`, (n,), gets their new ones."""
        size_bytes = int((references[order] & LENGTH_MASK).sum())
        content = np.empty(max(size_bytes, 1), np.uint8)
        olds, news = np.zeros(_REMEMBERED, np.int64), np.zeros(_REMEMBERED, np.int64)
        filled = int(pack(references, order, self.table, content, out, olds, news))
        # What is not filled was never touched and takes no memory, but for shared texts: then there is little.
        return Texts([content[:filled].copy() if filled < size_bytes // 2 else content[:filled]] if filled else [])


def chunks_of(size_bytes: int) -> int:
    """Chunks that so many bytes take."""
    return -(-size_bytes // CHUNK_BYTES)
