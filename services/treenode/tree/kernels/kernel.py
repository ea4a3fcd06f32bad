"""How this package compiles its kernels, and the few scalars that all of them share.

A kernel takes arrays, scalars and named tuples of arrays, and nothing else; it never allocates per member and never
recurses. Kernels release the GIL, so a long one may run in a thread. They also run as plain Python
(NUMBA_DISABLE_JIT=1), which the tests do once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numba
import numpy as np
from numba.core.registry import CPUDispatcher
from numpy.typing import NDArray

from services.treenode.tree.kernels.kernel_cache import FOLDER

Int16s = NDArray[np.int16]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]
UInt8s = NDArray[np.uint8]
UInt32s = NDArray[np.uint32]
UInt64s = NDArray[np.uint64]
Float64s = NDArray[np.float64]
AnyArray = NDArray[Any]
#: A whole number within a kernel: Python's int and NumPy's are the same there, and mypy must not tell them apart.
Whole: TypeAlias = Any

Function = TypeVar("Function", bound=Callable[..., Any])


_config: Any = numba.config
_KEPT = FOLDER is not None

#: What all have. `_nrt`: numba's own name for leaving reference counts out. Nobody calls them from C.
_LEAN: dict[str, Any] = {"_nrt": False, "no_cfunc_wrapper": True}


def kernel(function: Function) -> Function:
    """Compiles `function` on its first call with each set of types; the result is kept on disk (`kernel_cache.py`).

    Without numba's reference counts (`_nrt`): else every call from one kernel to another counts each array in and out
    with two locked instructions, 17 ns a call where the rest takes 2, and many times that with two threads on one
    array. So a kernel can't make arrays: the caller passes them in.
    """
    return cast(Function, numba.njit(nogil=True, cache=_KEPT, **_LEAN)(function))


def kernel_with_gil(function: Function) -> Function:
    """As `kernel`, but it keeps the GIL: for what takes a microsecond or two on the event loop, thousands of times a
    second. Whoever lets the GIL go there gives it to gRPC's thread, and waits 50 microseconds for it to come back.
    """
    return cast(Function, numba.njit(cache=_KEPT, **_LEAN)(function))


def inner(function: Function) -> Function:
    """Compiles a function that only kernels call, with each kernel that calls it.

    Half the time that numba takes for a small function goes into what Python calls it by, and as much again in each
    kernel that links it.
    """
    return cast(Function, _inner(function))


def inlined(function: Function) -> Function:
    """Compiles a small function into each kernel that calls it.

    A named tuple of arrays is handed over as seven numbers for each array: a call with a whole store costs more than
    most of what such functions do. For kernels only, as `inner`.
    """
    return cast(Function, _inner(function, forceinline=True))


class _Inner(CPUDispatcher):
    """There is no code by which Python could call it."""

    def __call__(self, *_: object) -> None:
        raise TypeError(f"only kernels call {self.py_func.__qualname__}")


def _inner(function: Any, **options: bool) -> Any:
    if _config.DISABLE_JIT:
        return function
    lean = {"nopython": True, "nogil": True, "no_cpython_wrapper": True, **_LEAN}
    return _Inner(function, targetoptions=lean | options)


@inlined
def whole(value: Any) -> int:
    """A scalar as int64: sums of narrower ones must not wrap, and an int64 mixed with a uint64 would become a float."""
    return np.int64(value)  # type: ignore[return-value]


_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_30 = np.uint64(30)
_SHIFT_27 = np.uint64(27)
_SHIFT_31 = np.uint64(31)


@inlined
def mixed(value: np.uint64) -> np.uint64:
    """A bijection of 64-bit numbers in which every bit of the argument moves half of the result's (splitmix64)."""
    value = (value ^ (value >> _SHIFT_30)) * _MIX_1
    value = (value ^ (value >> _SHIFT_27)) * _MIX_2
    return value ^ (value >> _SHIFT_31)


def text_hash(text: str | bytes) -> int:
    """A 64-bit hash of a text, or of its UTF-8, the same in every process: for digests."""
    encoded = text.encode() if isinstance(text, str) else text
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")
