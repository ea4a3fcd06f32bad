"""From encoded log records to the tree: check and decode in pieces, apply in slices.

A slice runs on the event loop inside the gate, for `apply_slice_ms` at most, so that reports wait no longer than
that. What a slice costs is measured as it goes, and the next one is cut to fit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from google.protobuf.message import DecodeError

from fasttree.v1 import treenode_pb2, types_pb2
from services.shared.telemetry.histograms import Histogram
from services.shared.wire.record import RecordDamagedError, checked_contents
from services.treenode.node.runner import NodeRunner
from services.treenode.node.sequence_events import Halt
from services.treenode.replication.applying_mark import ApplyingMark
from services.treenode.tree import NotApplied, StopBeforeError, Tree, UpdateFailedError

SLICE_UPDATES_MIN = 16
SLICE_UPDATES_MAX = 8_192
#: Records that are checked and decoded in one go: a fraction of a slice's time.
DECODED_AT_ONCE_MAX = 256
#: Ends of the ranges that batches' times are counted in, in seconds.
_BATCH_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)

#: Called after each slice: its first position, its updates, and those of them (or held before) that were not applied.
SliceListener = Callable[[int, Sequence[types_pb2.Update], Sequence[NotApplied]], None]


def decode_records(
    records: Sequence[treenode_pb2.LogRecord],
) -> tuple[list[int], list[types_pb2.Update], RecordDamagedError | None]:
    """Positions and updates of the records up to the first damaged one, and what is wrong with that."""
    positions, contents, damage = checked_contents(records)
    updates: list[types_pb2.Update] = []
    try:
        # Whatever went in before one that can't be decoded stays.
        updates.extend(map(types_pb2.Update.FromString, contents))
    except DecodeError as error:
        position = positions[len(updates)]
        damage = RecordDamagedError(f"log record at position {position} is damaged: it is no update: {error}")
        del positions[len(updates) :]
    return positions, updates, damage


async def decode_in_pieces(
    records: Sequence[treenode_pb2.LogRecord],
) -> tuple[list[int], list[types_pb2.Update], RecordDamagedError | None]:
    """As `decode_records`; of many records a piece at a time, so that reports have their turn between two of them."""
    if len(records) <= DECODED_AT_ONCE_MAX:
        return decode_records(records)
    positions: list[int] = []
    updates: list[types_pb2.Update] = []
    damage: RecordDamagedError | None = None
    for start in range(0, len(records), DECODED_AT_ONCE_MAX):
        here, decoded, damage = decode_records(records[start : start + DECODED_AT_ONCE_MAX])
        positions += here
        updates += decoded
        if damage is not None:
            break
        await asyncio.sleep(0)
    return positions, updates, damage


def halt_of(failed: UpdateFailedError) -> Halt:
    """What the node is told of a failure of the engine."""
    return Halt(failed.position, failed.fault_position, failed.reason)


class SlicePace:
    """How many updates fit into a slice, by what the last ones cost."""

    def __init__(self, slice_ms: float) -> None:
        self._slice_s = slice_ms / 1_000
        #: Cost of one update, in seconds: a mean that forgets slowly.
        self._update_s = 10e-6

    @property
    def updates(self) -> int:
        """How many updates the next slice may have."""
        return max(SLICE_UPDATES_MIN, min(SLICE_UPDATES_MAX, int(self._slice_s / self._update_s)))

    def note(self, count: int, took_s: float) -> None:
        """A slice of `count` updates took that long."""
        self._update_s += 0.25 * (max(took_s / count, 1e-7) - self._update_s)


class Applier:
    """Applies slices of updates to the live tree, and measures what they cost."""

    def __init__(self, node: NodeRunner, listener: SliceListener, mark: ApplyingMark) -> None:
        self._node = node
        self._listener = listener
        self._pace = SlicePace(node.settings.apply_slice_ms)
        self._mark = mark
        #: How long each batch took, from its arrival to its last update's being visible.
        self.batch_s = Histogram(_BATCH_BOUNDS_S)
        #: Updates applied since the start, and the time spent inside the engine, in seconds.
        self.applied_count = 0
        self.busy_s = 0.0

    @property
    def updates_max(self) -> int:
        """How many updates the next slice may have; one, where a process has died among those to come."""
        sequence = self._node.core.sequence
        if self._mark.is_suspect(sequence.log_id, sequence.position + 1):
            return 1
        return self._pace.updates

    def apply(self, first_position: int, part: Sequence[types_pb2.Update]) -> list[NotApplied]:
        """Applies a slice, in the gate; returns the updates that were held or rejected.

        Raises:
            UpdateFailedError: The engine fails at one; those before it are in the tree.
        """
        node, log_id = self._node, self._node.core.sequence.log_id
        began_s = time.perf_counter()
        if self._mark.is_deadly(log_id, first_position) and first_position not in node.in_force.tree.skips.due:
            self._mark.keep(log_id, first_position)
            why = StopBeforeError(f"{self._mark.deaths} processes of this node have died of it, one after another")
            raise UpdateFailedError(first_position, why, [], is_whole=True)
        self._mark.begin(log_id, first_position, len(part))
        try:
            not_applied = node.in_force.tree.apply(first_position, part, node.before_seal)
        except UpdateFailedError as failed:
            self._mark.end()
            done = failed.position - first_position
            self.applied_count += done
            self._listener(first_position, part[:done], failed.not_applied)
            raise
        except Exception as error:
            # Some of the slice may be in the tree: nobody may see or save that.
            node.fail(error)
            raise
        self._mark.end()
        took_s = time.perf_counter() - began_s
        self._pace.note(len(part), took_s)
        self.applied_count += len(part)
        self.busy_s += took_s
        self._listener(first_position, part, not_applied)
        return not_applied


class Replayer:
    """Applies records to a tree that nobody sees yet, in slices on the loop."""

    def __init__(
        self,
        tree: Tree,
        slice_ms: float,
        last_record: tuple[int, int] = (0, 0),
        before_seal: Callable[[Tree, str], None] | None = None,
    ) -> None:
        """`before_seal`: as for `Tree.apply`."""
        self.tree = tree
        self._before_seal = before_seal
        #: Position and checksum of the newest record that is known to be in the tree; (0, 0): none.
        self.last_record = last_record
        self._pace = SlicePace(slice_ms)

    async def apply(self, records: Sequence[treenode_pb2.LogRecord]) -> None:
        """Applies records that follow the tree's position.

        Raises:
            RecordDamagedError: One is damaged or out of order; those before it are applied.
            UpdateFailedError: The engine fails at one; those before it are applied.
        """
        positions, updates, damage = await decode_in_pieces(records)
        expected = list(range(self.tree.position + 1, self.tree.position + 1 + len(positions)))
        if positions != expected:
            raise RecordDamagedError(f"log records out of order after position {self.tree.position}")
        start = 0
        while start < len(updates):
            end = min(len(updates), start + self._pace.updates)
            began_s = time.perf_counter()
            self.tree.apply(positions[start], updates[start:end], self._before_seal)
            self._pace.note(end - start, time.perf_counter() - began_s)
            start = end
            self.last_record = (positions[end - 1], records[end - 1].crc32)
            await asyncio.sleep(0)
        if damage is not None:
            raise damage
