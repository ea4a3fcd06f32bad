"""How many processors this process may use: the one home of that. A machine has more than a process of it may use where
it is held to some of them, or to a quota, as systemd and containers do.

Threads beyond that do no work sooner: inside a quota they use it up, and then all of the process waits for the next
period, the thread of its heartbeats among them, whatever its niceness.
"""

from __future__ import annotations

import functools
import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


@functools.cache
def processors() -> int:
    """At least 1."""
    return count_processors(len(os.sched_getaffinity(0)), _CGROUPS, _OWN)


def at_most_processors(threads: int) -> int:
    """So many threads as were asked for, as far as each can have a processor."""
    return min(threads, processors())


def count_processors(affinity: int, cgroups: Path, own: Path) -> int:
    """Of a process that may run on so many. `cgroups`: where the system shows its groups; `own`: says which are this
    process's."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return max(1, affinity)
    quotas: list[float] = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            quotas += _quotas(cgroups, path, "cpu.max")
        elif "cpu" in controllers.split(","):
            for folder in {controllers, "cpu"}:
                quotas += _quotas(cgroups / folder, path, "cpu.cfs_quota_us")
    return max(1, min([affinity, *(math.ceil(quota) for quota in quotas)]))


def _quotas(root: Path, path: str, name: str) -> list[float]:
    """Of a group and all above it: each of them binds. A container may show its own group as the root."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    found = []
    for depth in range(len(parts) + 1):
        quota = _quota(root.joinpath(*parts[:depth]), name)
        if quota is not None:
            found.append(quota)
    return found


def _quota(group: Path, name: str) -> float | None:
    """In processors; None where there is none."""
    try:
        words = (group / name).read_text().split()
        if name == "cpu.cfs_quota_us":
            words += (group / "cpu.cfs_period_us").read_text().split()
        quota_us, period_us = map(int, words)
    except (OSError, ValueError):  # not there, "max", or a system of another kind
        return None
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None
