"""Whether an id may have been taken: a filter in memory, so that a push of new ids reads no file.

A Bloom filter of one word a key: the word is the key's first bits, so keys in their order fill it from one end to the
other. About 16 bits an id at least; of a hundred new ids, one is looked up in vain at most.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.pusher.log.ids.keys import Keys

_BITS_AN_ID = 16
_WORDS_MIN = 1 << 10


class IdFilter:
    """The filter. `add` more than `capacity` in all makes it answer yes too often: make a larger one."""

    def __init__(self, count: int) -> None:
        """`count`: how many ids it should hold; it has room for at least twice that."""
        wanted = max(_WORDS_MIN, 2 * count * _BITS_AN_ID // 64)
        self._bits = (wanted - 1).bit_length()
        self._words = np.zeros(1 << self._bits, dtype=np.uint64)
        self.capacity = (64 << self._bits) // _BITS_AN_ID
        self.count = 0

    @property
    def size_bytes(self) -> int:
        """What it takes of memory."""
        return int(self._words.nbytes)

    def add(self, keys: Keys) -> None:
        """Adds keys, in their order."""
        if not len(keys.high):
            return
        places = self._places(keys)
        first = np.concatenate(([True], places[1:] != places[:-1])).nonzero()[0]
        self._words[places[first]] |= np.bitwise_or.reduceat(_marks(keys), first)
        self.count += len(places)

    def may_hold(self, keys: Keys) -> NDArray[np.bool_]:
        """For each key: False where it was never added."""
        marks = _marks(keys)
        held: NDArray[np.bool_] = (self._words[self._places(keys)] & marks) == marks
        return held

    def _places(self, keys: Keys) -> NDArray[np.uint64]:
        return keys.high >> np.uint64(64 - self._bits)


def _marks(keys: Keys) -> NDArray[np.uint64]:
    """Four bits of a word for each key, by the bits of it that do not say which word."""
    low = keys.low.astype(np.uint64)
    one, six = np.uint64(1), np.uint64(63)
    marks = one << (low & six)
    for shift in (6, 12, 18):
        marks |= one << (low >> np.uint64(shift) & six)
    return marks
