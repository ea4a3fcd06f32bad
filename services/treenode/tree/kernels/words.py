"""Eight characters at a time: a field's text as a 64-bit word, its first character in the lowest byte.

Fields are short. Taken by the word, one costs a handful of steps without a branch for each character, which no
predictor would foresee.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from services.treenode.tree.kernels.kernel import UInt8s, inlined

#: Characters in a word.
WORD_BYTES = 8
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_EIGHT = np.uint64(8)
_THREE = np.uint64(3)
_ZERO = np.uint64(0)
_ONES = np.uint64(0x0101010101010101)
_HIGH_BITS = np.uint64(0x8080808080808080)
_SPACES = np.uint64(0x2020202020202020)
_TO_HIGH_FROM_SPACE = np.uint64(0x6060606060606060)
_ZEROS = np.uint64(0x3030303030303030)
_TO_HIGH_FROM_TEN = np.uint64(0x7676767676767676)
_PAIRS, _FOURS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_TENS, _HUNDREDS, _TEN_THOUSANDS = np.uint64(2561), np.uint64(6553601), np.uint64(42949672960001)
_ONE, _SHIFT_7, _SHIFT_56 = np.uint64(1), np.uint64(7), np.uint64(56)
#: Times 1 << 8 n, its highest byte is n.
_PLACE_OF_BIT = np.uint64(0x0001020304050607)
_SHIFT_8, _SHIFT_16, _SHIFT_32 = np.uint64(8), np.uint64(16), np.uint64(32)


def _load_plainly(data: UInt8s, at: int) -> np.uint64:
    return np.uint64(int.from_bytes(data[int(at) : int(at) + WORD_BYTES].tobytes(), "little"))


def _load(context: Any, data: Any, at: Any) -> Any:
    """Machine code for it: one load, wherever the word lies. `data`: bytes without gaps; nothing is checked."""

    def generate(generator: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = generator.make_array(signature.args[0])(generator, builder, arguments[0])
        pointer = builder.gep(array.data, [arguments[1]])
        word = ir.IntType(64)
        return builder.load(builder.bitcast(pointer, word.as_pointer()), align=1)

    return types.uint64(data, types.intp), generate


def _store_plainly(data: UInt8s, at: int, word: np.uint64) -> None:
    data[int(at) : int(at) + WORD_BYTES] = np.frombuffer(int(word).to_bytes(WORD_BYTES, "little"), np.uint8)


def _store(context: Any, data: Any, at: Any, word: Any) -> Any:
    """Machine code for it: one store, wherever the word lies. `data`: bytes without gaps; nothing is checked."""

    def generate(generator: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = generator.make_array(signature.args[0])(generator, builder, arguments[0])
        pointer = builder.gep(array.data, [arguments[1]])
        builder.store(arguments[2], builder.bitcast(pointer, ir.IntType(64).as_pointer()), align=1)
        return generator.get_dummy_value()

    return types.void(data, types.intp, types.uint64), generate


_config: Any = numba.config
#: load_word(data, at): the eight characters from `at` on, all of which must be there.
load_word: Any = _load_plainly if _config.DISABLE_JIT else intrinsic(_load)
#: store_word(data, at, word): writes its eight characters from `at` on, where there is room for all of them.
store_word: Any = _store_plainly if _config.DISABLE_JIT else intrinsic(_store)


@inlined
def word_at(data: UInt8s, at: int, length: int) -> np.uint64:
    """The text of 0 to 8 characters from `at` on, NULs behind it."""
    if at + WORD_BYTES <= data.size:
        if length == 0:
            return _ZERO
        return load_word(data, at) & (_ALL >> ((_EIGHT - np.uint64(length)) << _THREE))  # type: ignore[no-any-return]
    word = _ZERO
    for place in range(length):
        word |= np.uint64(data[at + place]) << (np.uint64(place) << _THREE)
    return word


@inlined
def behind_of(length: int) -> np.uint64:
    """All bits of a word that are behind its first 0 to 8 characters."""
    return _ZERO if length >= WORD_BYTES else _ALL << (np.uint64(length) << _THREE)


@inlined
def unprintable(word: np.uint64, behind: np.uint64) -> np.uint64:
    """Not 0 where a character of a word is not printable ASCII, 32 to 126. `behind`: all bits of what is none of it."""
    text = word | (_SPACES & behind)
    return (text | ~(text + _TO_HIGH_FROM_SPACE) | (text + _ONES)) & _HIGH_BITS


@inlined
def first_of(high_bits: np.uint64) -> int:
    """The place of the first character whose highest bit is set; some are, and no other bits."""
    lowest = high_bits & (~high_bits + _ONE)
    return np.int64(((lowest >> _SHIFT_7) * _PLACE_OF_BIT) >> _SHIFT_56)  # type: ignore[return-value]


@inlined
def is_printable(word: np.uint64, length: int) -> bool:
    """Whether the `length` characters of a word are all printable ASCII. `length`: from 0 to 8."""
    return bool(unprintable(word, behind_of(length)) == 0)


@inlined
def are_digits(word: np.uint64) -> bool:
    """Whether all eight characters are digits."""
    digits = word ^ _ZEROS
    return bool(((digits + _TO_HIGH_FROM_TEN) | digits) & _HIGH_BITS == 0)


@inlined
def number_of(word: np.uint64) -> int:
    """What eight digits say."""
    pairs = ((word ^ _ZEROS) * _TENS) >> _SHIFT_8
    fours = ((pairs & _PAIRS) * _HUNDREDS) >> _SHIFT_16
    return np.int64(((fours & _FOURS) * _TEN_THOUSANDS) >> _SHIFT_32)  # type: ignore[return-value]
