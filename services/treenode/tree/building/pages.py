"""Memory before it is used: a page costs its first user more than all that is then done with it."""

from __future__ import annotations

import ctypes
import mmap

from services.treenode.tree.kernels.kernel import AnyArray

#: Linux 5.14; an older one refuses it, and pages come as they are used.
_MADV_POPULATE_WRITE = 23

_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def touch(array: AnyArray) -> None:
    """Has the system give an array its memory now; what is in it stays. `array`: contiguous. Lets other threads run."""
    begin = -(-array.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
    size_bytes = (array.ctypes.data + array.nbytes - begin) // mmap.PAGESIZE * mmap.PAGESIZE
    if size_bytes > 0:
        _madvise(begin, size_bytes, _MADV_POPULATE_WRITE)
