"""Whether an id may have been taken: a filter in memory, so that a push of new ids reads no file.

A Bloom filter of two neighbouring words a key, which one line of the processor's cache holds: the pair is the key's
first bits, so keys in their order fill it from one end to the other. 32 bits an id at least, 64 where it is new; of ten
thousand new ids, one is looked up in vain at most. The second word is asked only of those that the first one may hold,
which are few.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.pusher.log.ids.keys import Keys

_BITS_AN_ID = 32
_PAIRS_MIN = 1 << 9


class IdFilter:
    """The filter. `add` more than `capacity` in all makes it answer yes too often: make a larger one."""

    def __init__(self, count: int) -> None:
        """`count`: how many ids it should hold; it has room for at least as many, and twice that at most."""
        wanted = max(_PAIRS_MIN, count * _BITS_AN_ID // 128 + 1)
        bits = (wanted - 1).bit_length()
        self._shift = np.uint64(64 - bits)
        self._words = np.zeros(2 << bits, dtype=np.uint64)
        self.capacity = (128 << bits) // _BITS_AN_ID
        self.count = 0

    @property
    def size_bytes(self) -> int:
        """What it takes of memory."""
        return int(self._words.nbytes)

    def add(self, keys: Keys) -> None:
        """Adds keys, in their order."""
        if not len(keys.high):
            return
        pairs = self._pairs(keys)
        begins = np.concatenate(([True], pairs[1:] != pairs[:-1])).nonzero()[0]
        firsts = pairs[begins] << 1
        self._words[firsts] |= np.bitwise_or.reduceat(_marks(keys.low), begins)
        self._words[firsts | 1] |= np.bitwise_or.reduceat(_marks(_other_half(keys)), begins)
        self.count += len(pairs)

    def may_hold(self, keys: Keys) -> NDArray[np.intp]:
        """Indexes of those keys that may have been added; of the others, none was."""
        firsts = self._pairs(keys) << 1
        marks = _marks(keys.low)
        may: NDArray[np.intp] = ((self._words.take(firsts) & marks) == marks).nonzero()[0]
        if len(may):
            marks = _marks(_other_half(keys)[may])
            may = may[(self._words.take(firsts[may] | 1) & marks) == marks]
        return may

    def _pairs(self, keys: Keys) -> NDArray[np.int64]:
        return (keys.high >> self._shift).view(np.int64)


def _other_half(keys: Keys) -> NDArray[np.uint32]:
    """The end of the first bits, which says of no filter which pair it is."""
    return keys.high.astype(np.uint32)


def _marks(bits: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Four bits of a word for each, by 24 bits that are evenly spread."""
    marks: NDArray[np.uint64] = _TWO_BITS.take(bits & np.uint32(0xFFF))
    marks |= _TWO_BITS.take(bits >> np.uint32(12) & np.uint32(0xFFF))
    return marks


def _two_bits() -> NDArray[np.uint64]:
    """For twelve bits, a word with the two bits that they name."""
    named = np.arange(1 << 12, dtype=np.uint64)
    one = np.uint64(1)
    return one << (named & np.uint64(63)) | one << (named >> np.uint64(6))


_TWO_BITS = _two_bits()
