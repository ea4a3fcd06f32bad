"""The hash of a text by a kernel: `text_hash` of kernel.py (BLAKE2b with a digest of 8 bytes, RFC 7693), for millions.

The hash of hashlib would hold the interpreter for every one of them. Here LANES texts are hashed side by side: all that
is done to one word of a block is done to that word of all lanes, one after another in memory, which the compiler turns
into instructions that take several at once.

Names, addresses and numbers are short: texts of SHORT_BYTES at most go ahead, LANES at a time, without a state in
memory and without the words of a block that are 0. Then come the others, block by block: a lane takes the next text as
soon as its own is done.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

from services.treenode.tree.kernels.addresses import column_at, prefetch
from services.treenode.tree.kernels.kernel import Int64s, UInt8s, UInt64s, Whole, inlined, inner, kernel, whole
from services.treenode.tree.kernels.words import WORD_BYTES, load_word, word_at

#: A reference is where a text begins among all of its column's, and how long it is in its lowest bits; 0: no text.
LENGTH_BITS = 11
LENGTH_MASK = (1 << LENGTH_BITS) - 1
#: Where a text begins is the number of a chunk, and the place within it.
CHUNK_BITS = 20
CHUNK_BYTES = 1 << CHUNK_BITS
_PLACE_MASK = CHUNK_BYTES - 1

#: Texts side by side.
LANES = 8
_STATE_WORDS = 8
_BLOCK_WORDS = 16
_BLOCK_BYTES = WORD_BYTES * _BLOCK_WORDS
#: Where in a scratch's words the block begins, the count of bytes up to its end, and whether it is the last one; the
#: state is before them.
_BLOCK = LANES * _STATE_WORDS
_COUNT = _BLOCK + LANES * _BLOCK_WORDS
_IS_LAST = _COUNT + LANES
_WORDS = _IS_LAST + LANES
_SHORT_WORDS = 6
SHORT_BYTES = WORD_BYTES * _SHORT_WORDS
#: Where the lengths and the hashes are among the words of short texts, which are before them.
_SHORT_LENGTH = LANES * _SHORT_WORDS
_SHORT_HASH = _SHORT_LENGTH + LANES
#: What of each word belongs to a short text, by its length.
_SHORT_MASKS = np.array(
    [
        [2 ** (8 * min(WORD_BYTES, max(0, length - WORD_BYTES * number))) - 1 for number in range(_SHORT_WORDS)]
        for length in range(SHORT_BYTES + 1)
    ],
    np.uint64,
)
#: Memory is there, or is not, by pages that are no smaller than this.
_PAGE_BYTES = 4096
#: How many texts ahead memory is asked for one.
_AHEAD = 16
#: References whose hash is remembered, since columns of few texts have the same ones again and again.
_REMEMBERED = 1024
#: Spreads references over as many slots.
_SPREAD, _SHIFT_SLOT = np.uint64(0x9E3779B97F4A7C15), np.uint64(54)
_IV = np.array(
    [
        *(0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1),
        *(0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179),
    ],
    np.uint64,
)
_IV0, _IV1, _IV2, _IV3, _IV4, _IV5, _IV6, _IV7 = _IV
#: What the first word of the state is mixed with: a digest of 8 bytes, no key, no tree.
_PARAMETERS = np.uint64(0x01010008)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_0, _1 = np.uint64(0), np.uint64(1)
_IV0_MIXED, _IV6_LAST = _IV0 ^ _PARAMETERS, _IV6 ^ _ALL
_16, _24, _32, _40, _48, _63 = (np.uint64(bits) for bits in (16, 24, 32, 40, 48, 63))

#: The state of one lane within a round.
_Mixing: TypeAlias = tuple[np.uint64, ...]


class Scratch(NamedTuple):
    """What the kernel works with; one for each thread."""

    #: (_SHORT_HASH + LANES,) uint64: each word of LANES short texts, their lengths and their hashes.
    short: UInt64s
    #: (_WORDS,) uint64: each word of the state and of the block, and what goes with the block, of all lanes in a row.
    words: UInt64s
    #: (LANES,): which of the texts is in the lane, -1: none; how many of its bytes are in the state.
    indices: Int64s
    done: Int64s
    #: (LANES,): how many words of the lane's block may be other than 0.
    filled: Int64s
    #: (_REMEMBERED,): references and the hashes of their texts.
    references: Int64s
    hashes: UInt64s


def scratch() -> Scratch:
    """A new one, which remembers nothing."""
    return Scratch(
        np.zeros(_SHORT_HASH + LANES, np.uint64),
        np.zeros(_WORDS, np.uint64),
        np.full(LANES, -1, np.int64),
        np.zeros(LANES, np.int64),
        np.zeros(LANES, np.int64),
        np.zeros(_REMEMBERED, np.int64),
        np.zeros(_REMEMBERED, np.uint64),
    )


@inlined
def address_at(table: Int64s, reference: Whole) -> Whole:
    """Where a text lies in memory, which nothing here keeps. `table`: address of each chunk."""
    start = reference >> LENGTH_BITS
    return table[start >> CHUNK_BITS] + (start & _PLACE_MASK)


@inlined
def prefetch_text(references: Int64s, index: Whole, table: Int64s) -> None:
    """Has the memory bring a text that a pass over `references` comes to soon: after `index`. Rows that follow each
    other have texts that lie anywhere, and each would be waited for.
    """
    reference = whole(references[min(index + _AHEAD, references.shape[0] - 1)])
    address = address_at(table, reference)
    prefetch(address)
    prefetch(address + (reference & LENGTH_MASK))


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


@inlined
def _round(v: _Mixing, *m: np.uint64) -> _Mixing:
    """One round. `m`: the words of the block, in the round's order."""
    v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15 = v
    v0, v4, v8, v12 = _stirred(v0, v4, v8, v12, m[0], m[1])
    v1, v5, v9, v13 = _stirred(v1, v5, v9, v13, m[2], m[3])
    v2, v6, v10, v14 = _stirred(v2, v6, v10, v14, m[4], m[5])
    v3, v7, v11, v15 = _stirred(v3, v7, v11, v15, m[6], m[7])
    v0, v5, v10, v15 = _stirred(v0, v5, v10, v15, m[8], m[9])
    v1, v6, v11, v12 = _stirred(v1, v6, v11, v12, m[10], m[11])
    v2, v7, v8, v13 = _stirred(v2, v7, v8, v13, m[12], m[13])
    v3, v4, v9, v14 = _stirred(v3, v4, v9, v14, m[14], m[15])
    return v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15


@inlined
def _rounds(v: _Mixing, *m: np.uint64) -> _Mixing:
    """All twelve. `m`: the words of the block."""
    m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15 = m
    v = _round(v, m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15)
    v = _round(v, m14, m10, m4, m8, m9, m15, m13, m6, m1, m12, m0, m2, m11, m7, m5, m3)
    v = _round(v, m11, m8, m12, m0, m5, m2, m15, m13, m10, m14, m3, m6, m7, m1, m9, m4)
    v = _round(v, m7, m9, m3, m1, m13, m12, m11, m14, m2, m6, m5, m10, m4, m0, m15, m8)
    v = _round(v, m9, m0, m5, m7, m2, m4, m10, m15, m14, m1, m11, m12, m6, m8, m3, m13)
    v = _round(v, m2, m12, m6, m10, m0, m11, m8, m3, m4, m13, m7, m5, m15, m14, m1, m9)
    v = _round(v, m12, m5, m1, m15, m14, m13, m4, m10, m0, m7, m6, m3, m9, m2, m8, m11)
    v = _round(v, m13, m11, m7, m14, m12, m1, m3, m9, m5, m0, m15, m4, m8, m6, m2, m10)
    v = _round(v, m6, m15, m14, m9, m11, m3, m0, m8, m12, m2, m13, m7, m1, m4, m10, m5)
    v = _round(v, m10, m2, m8, m4, m7, m6, m1, m5, m15, m11, m9, m14, m3, m12, m13, m0)
    v = _round(v, m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15)
    return _round(v, m14, m10, m4, m8, m9, m15, m13, m6, m1, m12, m0, m2, m11, m7, m5, m3)


@inner
def _compress_short(w: UInt64s) -> None:
    """Sets the hash of every lane. `w`: the words of short texts."""
    for lane in range(LANES):
        m0, m1, m2, m3 = w[lane], w[LANES + lane], w[2 * LANES + lane], w[3 * LANES + lane]
        m4, m5, t = w[4 * LANES + lane], w[5 * LANES + lane], _IV4 ^ w[_SHORT_LENGTH + lane]
        h0, f = _IV0_MIXED, _IV6_LAST
        v: _Mixing = (h0, _IV1, _IV2, _IV3, _IV4, _IV5, _IV6, _IV7, _IV0, _IV1, _IV2, _IV3, t, _IV5, f, _IV7)
        v = _rounds(v, m0, m1, m2, m3, m4, m5, _0, _0, _0, _0, _0, _0, _0, _0, _0, _0)
        w[_SHORT_HASH + lane] = h0 ^ v[0] ^ v[8]


@inner
def _compress(w: UInt64s) -> None:
    """Takes the block of every lane into its state. `w`: the words of a scratch; one array, and no loop but that over
    the lanes: so the compiler sees that lanes don't touch each other.
    """
    for lane in range(LANES):
        h0, h1, h2, h3 = w[lane], w[LANES + lane], w[2 * LANES + lane], w[3 * LANES + lane]
        h4, h5, h6, h7 = w[4 * LANES + lane], w[5 * LANES + lane], w[6 * LANES + lane], w[7 * LANES + lane]
        m0, m1, m2, m3 = w[8 * LANES + lane], w[9 * LANES + lane], w[10 * LANES + lane], w[11 * LANES + lane]
        m4, m5, m6, m7 = w[12 * LANES + lane], w[13 * LANES + lane], w[14 * LANES + lane], w[15 * LANES + lane]
        m8, m9, m10, m11 = w[16 * LANES + lane], w[17 * LANES + lane], w[18 * LANES + lane], w[19 * LANES + lane]
        m12, m13, m14, m15 = w[20 * LANES + lane], w[21 * LANES + lane], w[22 * LANES + lane], w[23 * LANES + lane]
        t, f = _IV4 ^ w[_COUNT + lane], _IV6 ^ w[_IS_LAST + lane]
        v: _Mixing = (h0, h1, h2, h3, h4, h5, h6, h7, _IV0, _IV1, _IV2, _IV3, t, _IV5, f, _IV7)
        v = _rounds(v, m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15)
        v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15 = v
        w[lane] = h0 ^ v0 ^ v8
        w[LANES + lane] = h1 ^ v1 ^ v9
        w[2 * LANES + lane] = h2 ^ v2 ^ v10
        w[3 * LANES + lane] = h3 ^ v3 ^ v11
        w[4 * LANES + lane] = h4 ^ v4 ^ v12
        w[5 * LANES + lane] = h5 ^ v5 ^ v13
        w[6 * LANES + lane] = h6 ^ v6 ^ v14
        w[7 * LANES + lane] = h7 ^ v7 ^ v15


@inlined
def _slot_of(reference: Whole) -> Whole:
    return whole((np.uint64(reference) * _SPREAD) >> _SHIFT_SLOT)


@inlined
def _fill_short(words: UInt64s, lane: Whole, address: Whole, length: Whole) -> None:
    """Sets a lane to the short text of this length that lies at `address`."""
    if address & (_PAGE_BYTES - 1) <= _PAGE_BYTES - SHORT_BYTES:
        # What is behind the text is on its page, so it can be read, whatever it is.
        text = column_at(address, SHORT_BYTES, np.uint8)
        for number in range(_SHORT_WORDS):
            words[LANES * number + lane] = load_word(text, WORD_BYTES * number) & _SHORT_MASKS[length, number]
    else:
        text = column_at(address, length, np.uint8)
        for number in range(_SHORT_WORDS):
            at = min(WORD_BYTES * number, length)
            words[LANES * number + lane] = word_at(text, at, min(WORD_BYTES, length - at))
    words[_SHORT_LENGTH + lane] = np.uint64(length)


@inlined
def _hash_short(references: Int64s, scratch: Scratch, lanes: Whole, out: UInt64s) -> None:
    """Gives out the hashes of the short texts in the first `lanes` lanes."""
    _compress_short(scratch.short)
    for lane in range(lanes):
        value, index = scratch.short[_SHORT_HASH + lane], scratch.indices[lane]
        slot = _slot_of(whole(references[index]))
        out[index] = value
        scratch.references[slot], scratch.hashes[slot] = references[index], value


@inlined
def _next_long(references: Int64s, index: Whole, scratch: Scratch, out: UInt64s) -> Whole:
    """The first text from `index` on that is not short and has to be hashed; those before it have their hash."""
    while index < references.shape[0]:
        reference = whole(references[index])
        if reference & LENGTH_MASK > SHORT_BYTES:
            slot = _slot_of(reference)
            if scratch.references[slot] != reference:
                break
            out[index] = scratch.hashes[slot]
        index += 1
    return index


@inlined
def _fill(words: UInt64s, filled: Int64s, lane: Whole, text: UInt8s, done: Whole) -> Whole:
    """Sets a lane's block to what follows in the text after `done` bytes; `done` after it."""
    if done == 0:
        for place in range(_STATE_WORDS):
            words[LANES * place + lane] = _IV[place]
        words[lane] ^= _PARAMETERS
    length = text.shape[0]
    size = min(length - done, _BLOCK_BYTES)
    count = (size + WORD_BYTES - 1) // WORD_BYTES
    for number in range(count):
        at, left = done + WORD_BYTES * number, size - WORD_BYTES * number
        if left >= WORD_BYTES:
            word = word_at(text, at, WORD_BYTES)
        elif length < WORD_BYTES:
            word = word_at(text, at, left)
        else:  # the text's last whole word has them too: one load instead of a few
            word = word_at(text, length - WORD_BYTES, WORD_BYTES) >> np.uint64(8 * (WORD_BYTES - left))
        words[_BLOCK + LANES * number + lane] = word
    for number in range(count, filled[lane]):
        words[_BLOCK + LANES * number + lane] = 0
    filled[lane] = count
    done += size
    words[_COUNT + lane] = np.uint64(done)
    words[_IS_LAST + lane] = _ALL if done == length else _0
    return done


@inner
def _hash_long(references: Int64s, table: Int64s, scratch: Scratch, out: UInt64s) -> None:
    """As `hash_texts`, for those that are not short."""
    words, indices, done = scratch.words, scratch.indices, scratch.done
    indices[:] = -1
    following = whole(0)
    while True:
        busy = 0
        for lane in range(LANES):
            if indices[lane] < 0:
                following = _next_long(references, following, scratch, out)
                if following == references.shape[0]:
                    continue
                indices[lane], done[lane] = following, 0
                following += 1
            busy += 1
            reference = whole(references[indices[lane]])
            text = column_at(address_at(table, reference), reference & LENGTH_MASK, np.uint8)
            done[lane] = _fill(words, scratch.filled, lane, text, done[lane])
        if busy == 0:
            return
        _compress(words)
        for lane in range(LANES):
            if indices[lane] >= 0 and words[_IS_LAST + lane] != 0:
                reference = whole(references[indices[lane]])
                out[indices[lane]] = words[lane]
                scratch.references[_slot_of(reference)] = reference
                scratch.hashes[_slot_of(reference)] = words[lane]
                indices[lane] = -1


@kernel
def hash_texts(references: Int64s, table: Int64s, scratch: Scratch, out: UInt64s) -> None:
    """Sets out[i] to the hash of the text of references[i]; 0 for no text, which stands for unknown."""
    lanes, has_long = whole(0), False
    for index in range(references.shape[0]):
        prefetch_text(references, index, table)
        reference = whole(references[index])
        slot = _slot_of(reference)
        if reference == 0:
            out[index] = 0
        elif scratch.references[slot] == reference:
            out[index] = scratch.hashes[slot]
        elif reference & LENGTH_MASK > SHORT_BYTES:
            has_long = True
        else:
            _fill_short(scratch.short, lanes, address_at(table, reference), reference & LENGTH_MASK)
            scratch.indices[lanes] = index
            lanes += 1
            if lanes == LANES:
                _hash_short(references, scratch, lanes, out)
                lanes = 0
    _hash_short(references, scratch, lanes, out)
    if has_long:
        _hash_long(references, table, scratch, out)
