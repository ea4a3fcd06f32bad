"""The hash of a text by a kernel: `text_hash` of kernel.py (BLAKE2b with a digest of 8 bytes, RFC 7693), for millions.

The hash of hashlib would hold the interpreter for every one of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.treenode.tree.kernels.addresses import column_at
from services.treenode.tree.kernels.kernel import Int64s, UInt8s, UInt64s, Whole, inlined, kernel, mixed, whole

#: A reference is where a text begins among all of its column's, and how long it is in its lowest bits; 0: no text.
LENGTH_BITS = 11
LENGTH_MASK = (1 << LENGTH_BITS) - 1
#: Where a text begins is the number of a chunk, and the place within it.
CHUNK_BITS = 20
CHUNK_BYTES = 1 << CHUNK_BITS
_PLACE_MASK = CHUNK_BYTES - 1

_BLOCK_BYTES = 128
#: References whose hash is remembered, since columns of few texts have the same ones again and again.
_REMEMBERED = 1024
_IV = np.array(
    [
        *(0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1),
        *(0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179),
    ],
    np.uint64,
)
#: The first word of the state: a digest of 8 bytes, no key, no tree.
_FIRST = np.uint64(0x6A09E667F3BCC908 ^ 0x01010008)
_SIGMA = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
    ],
    np.uint8,
)
_ROUNDS = 12
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_32, _24, _16, _63 = np.uint64(32), np.uint64(24), np.uint64(16), np.uint64(63)
_40, _48, _1 = np.uint64(40), np.uint64(48), np.uint64(1)


class Scratch(NamedTuple):
    """What the kernel works with; one for each thread."""

    #: (128,) uint8 and (16,) uint64: a block of the text, as bytes and as words of the same memory.
    block: UInt8s
    words: UInt64s
    #: (8,) uint64: the state.
    state: UInt64s
    #: (_REMEMBERED,): references and the hashes of their texts.
    references: Int64s
    hashes: UInt64s


def scratch() -> Scratch:
    """A new one, which remembers nothing."""
    words = np.zeros(_BLOCK_BYTES // 8, np.uint64)
    return Scratch(
        words.view(np.uint8),
        words,
        np.zeros(8, np.uint64),
        np.zeros(_REMEMBERED, np.int64),
        np.zeros(_REMEMBERED, np.uint64),
    )


@inlined
def address_at(table: Int64s, reference: Whole) -> Whole:
    """Where a text lies in memory, which nothing here keeps. `table`: address of each chunk."""
    start = reference >> LENGTH_BITS
    return table[start >> CHUNK_BITS] + (start & _PLACE_MASK)


@inlined
def _stirred(
    a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64, x: np.uint64, y: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    a = a + b + x
    d = d ^ a
    d = (d >> _32) | (d << _32)
    c = c + d
    b = b ^ c
    b = (b >> _24) | (b << _40)
    a = a + b + y
    d = d ^ a
    d = (d >> _16) | (d << _48)
    c = c + d
    b = b ^ c
    b = (b >> _63) | (b << _1)
    return a, b, c, d


@kernel
def _compress(h: UInt64s, m: UInt64s, count: Whole, is_last: bool) -> None:
    """Takes the block `m` into the state. `count`: bytes of the text up to its end."""
    v0, v1, v2, v3 = h[0], h[1], h[2], h[3]
    v4, v5, v6, v7 = h[4], h[5], h[6], h[7]
    v8, v9, v10, v11 = _IV[0], _IV[1], _IV[2], _IV[3]
    v12, v13, v14, v15 = _IV[4] ^ np.uint64(count), _IV[5], _IV[6], _IV[7]
    if is_last:
        v14 = v14 ^ _ALL
    for number in range(_ROUNDS):
        s = _SIGMA[number % 10]
        v0, v4, v8, v12 = _stirred(v0, v4, v8, v12, m[s[0]], m[s[1]])
        v1, v5, v9, v13 = _stirred(v1, v5, v9, v13, m[s[2]], m[s[3]])
        v2, v6, v10, v14 = _stirred(v2, v6, v10, v14, m[s[4]], m[s[5]])
        v3, v7, v11, v15 = _stirred(v3, v7, v11, v15, m[s[6]], m[s[7]])
        v0, v5, v10, v15 = _stirred(v0, v5, v10, v15, m[s[8]], m[s[9]])
        v1, v6, v11, v12 = _stirred(v1, v6, v11, v12, m[s[10]], m[s[11]])
        v2, v7, v8, v13 = _stirred(v2, v7, v8, v13, m[s[12]], m[s[13]])
        v3, v4, v9, v14 = _stirred(v3, v4, v9, v14, m[s[14]], m[s[15]])
    h[0] ^= v0 ^ v8
    h[1] ^= v1 ^ v9
    h[2] ^= v2 ^ v10
    h[3] ^= v3 ^ v11
    h[4] ^= v4 ^ v12
    h[5] ^= v5 ^ v13
    h[6] ^= v6 ^ v14
    h[7] ^= v7 ^ v15


@kernel
def _hash(text: UInt8s, block: UInt8s, words: UInt64s, state: UInt64s) -> np.uint64:
    length = text.shape[0]
    for place in range(1, 8):
        state[place] = _IV[place]
    state[0] = _FIRST
    done = 0
    while True:
        size = min(length - done, _BLOCK_BYTES)
        for place in range(size):
            block[place] = text[done + place]
        for place in range(size, _BLOCK_BYTES):
            block[place] = 0
        done += size
        _compress(state, words, done, done == length)
        if done == length:
            return state[0]  # type: ignore[no-any-return]


@kernel
def hash_texts(references: Int64s, table: Int64s, scratch: Scratch, out: UInt64s) -> None:
    """Sets out[i] to the hash of the text of references[i]; 0 for no text, which stands for unknown."""
    block, words, state = scratch.block, scratch.words, scratch.state
    remembered, hashes = scratch.references, scratch.hashes
    for index in range(references.shape[0]):
        reference = whole(references[index])
        if reference == 0:
            out[index] = 0
            continue
        slot = whole(mixed(np.uint64(reference)) & np.uint64(_REMEMBERED - 1))
        if remembered[slot] != reference:
            text = column_at(address_at(table, reference), reference & LENGTH_MASK, np.uint8)
            hashes[slot] = _hash(text, block, words, state)
            remembered[slot] = reference
        out[index] = hashes[slot]
