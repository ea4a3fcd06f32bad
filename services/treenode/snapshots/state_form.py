"""What stands in a state file beside the arrays; see `state_file.py`."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

ALIGNMENT_BYTES = 64
ARRAYS_MAX = 100_000
#: Piece of an array that one thread reads or checks at a time.
PIECE_BYTES = 8 * 1024**2

PREFIX = struct.Struct("<8sQQI")

AnyArray = npt.NDArray[Any]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class ArrayEntry(msgspec.Struct, frozen=True):
    """An array in a header. Numbers and bytes alone: what would be an object when it is read is none."""

    name: str
    dtype: Annotated[str, msgspec.Meta(pattern=r"\A(<[iu][248]|<f[48]|\|[biu]1|\|S[1-9][0-9]{0,3})\Z")]
    shape: Annotated[list[Count], msgspec.Meta(max_length=4)]
    offset: Count
    crc32: Count


class StateHeader(msgspec.Struct, frozen=True):
    """A header, as far as it is the file's to know."""

    label: dict[str, Any]
    meta: dict[str, Any]
    arrays: Annotated[list[ArrayEntry], msgspec.Meta(max_length=ARRAYS_MAX)]


def aligned(offset: int) -> int:
    """The next offset at which an array may begin."""
    return -(-offset // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def contiguous(array: AnyArray) -> Iterator[AnyArray]:
    """The array in C order as contiguous pieces: itself, its rows, or a copy."""
    if array.flags.c_contiguous:
        yield array
    elif array.ndim > 1 and array[0].flags.c_contiguous:
        yield from array
    else:
        yield np.ascontiguousarray(array)


def entry_bytes(entry: ArrayEntry) -> int:
    """What an array takes in the file."""
    return int(np.dtype(entry.dtype).itemsize) * math.prod(entry.shape)


def parts_of(array: AnyArray, part_bytes: int = PIECE_BYTES) -> Iterator[memoryview]:
    """A contiguous array as bytes, cut."""
    if not array.nbytes:
        return
    view = array.reshape(-1).view(np.uint8).data
    for start in range(0, len(view), part_bytes):
        yield view[start : start + part_bytes]
