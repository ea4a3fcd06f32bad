"""Memory that a tree had goes back to the system.

The C library takes large pieces from the system one by one, and gives them back at once; but what is large it learns
from what it was given back, up to 32 MB. So once a tree was freed, most of the next one comes from a heap whose holes
stay the process's own: 100 MB of a million members with three texts each, after two imports. To forbid it the learning
would cost reports a third of their speed, whose columns are pieces of that size.
"""

from __future__ import annotations

import ctypes
import sys


def give_memory_back() -> None:
    """Gives the heap's holes back. Takes 20 ms for 100 MB, in which whoever wants memory of that heap waits: to be
    called in a thread, and not for every report. Does nothing where the C library has no way."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
