"""What a simulated node is set to, and what it has on its disk."""

from __future__ import annotations

from typing import NamedTuple

from tests.simulator.toy_tree import ToyTree, Update
from tests.simulator.world import Process

#: When a world begins, in seconds since 1970: a wall clock that jumps stays behind that.
EPOCH_S = 1_000_000.0


class NodeTimes(NamedTuple):
    """Times of a node's shell, in seconds."""

    heartbeat_s: float = 0.25
    apply_s: float = 0.004
    load_s: float = 0.5
    build_s: float = 1.5
    compare_s: float = 1.0
    snapshot_s: float = 20.0


class Snapshot(NamedTuple):
    """A state on disk; `sound` is what its checksum says."""

    log_id: str
    tree: ToyTree
    carried: tuple[int, ...]
    last_record: tuple[int, Update | None]
    sound: bool = True
    #: By the clock that people read.
    written_at_s: float = 0.0


def wall_s(process: Process) -> float:
    """The clock of its machine that people read."""
    return EPOCH_S + process.world.now + process.clock.wall_offset_s
