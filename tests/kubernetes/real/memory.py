"""What a container's processes have in memory, as the kernel counts them; runs in the container of a node.

Looks ten times a second until standard input ends. The last line is JSON: held_bytes_max (memory of the processes, each
page once, without what was only read from files), killed (how often the kernel ended a process for want of memory).
"""

from __future__ import annotations

import json
import select
import sys
from pathlib import Path

_EVERY_S = 0.1
#: Of the second version of cgroups and of the first: a folder, what its processes hold, what was ended.
_FOLDERS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory"))


def _numbers(path: Path) -> dict[str, int]:
    """A file of names and numbers."""
    return {name: int(number) for name, number in (line.split() for line in path.read_text().splitlines())}


def main() -> None:
    """Prints the figures once standard input has ended."""
    folder = next(folder for folder in _FOLDERS if (folder / "memory.stat").exists())
    second = (folder / "memory.events").exists()
    held = 0
    print("looking", flush=True)
    while not select.select([sys.stdin], [], [], _EVERY_S)[0]:
        told = _numbers(folder / "memory.stat")
        # Shared memory: what an import's reader and the node both map.
        held = max(held, told["anon"] + told["shmem"] if second else told["rss"] + told.get("shmem", 0))
    killed = _numbers(folder / ("memory.events" if second else "memory.oom_control"))["oom_kill"]
    print(json.dumps({"held_bytes_max": held, "killed": killed}))


if __name__ == "__main__":
    main()
