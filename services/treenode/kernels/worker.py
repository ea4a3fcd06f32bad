"""A process that compiles kernels into the cache, one for each line that it is given: `parallel.py` has several.

    python -m services.treenode.kernels.worker

Each line that `signatures.py` prints is answered by an empty one once the kernel is kept. It ends when nobody has more
lines for it, in the middle of a kernel too: whoever asked is gone then.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import signal
import sys
import threading

from services.treenode.kernels.signatures import wanted_of


def compile_kernel(line: str) -> None:
    """Into the cache, unless it is there. What can't be compiled is left to whoever calls it, who says why."""
    module, name, types = wanted_of(line)
    with contextlib.suppress(Exception):
        getattr(importlib.import_module(module), name).compile(types)


def main() -> None:
    """The process; see above."""
    # A Ctrl-C is for whoever asked, whose end is this process's.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        while True:
            compile_kernel(lines.get())
            sys.stdout.write("\n")
            sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
