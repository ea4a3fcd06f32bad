"""A state that was missed, made anew: a snapshot from before its period was closed, and the log up to now.

So comes back what was being written when the process died, or when the disk was full. The tree is one that nobody sees;
what it passes on its way is told as it is of the tree in force.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

import grpc.aio

from services.shared.serving.errors import UnavailableError
from services.shared.wire.record import RecordDamagedError
from services.treenode.node.runner import NodeRunner
from services.treenode.replication.applying import Replayer
from services.treenode.replication.pusher_log import PusherLog
from services.treenode.snapshots.saving import restore_tree
from services.treenode.snapshots.state_file import StateDamagedError, read_label, read_meta, read_state
from services.treenode.snapshots.store import SnapshotStore
from services.treenode.tree import StateError, Tree, UpdateFailedError
from services.treenode.tree.state import rules_of_state

logger = logging.getLogger(__name__)


class Rebuilding:
    """Makes them."""

    def __init__(
        self,
        node: NodeRunner,
        snapshots: SnapshotStore,
        pusher_address: Callable[[], str],
        before_seal: Callable[[Tree, str], None],
    ) -> None:
        self._node = node
        self._snapshots = snapshots
        self._pusher_address = pusher_address
        self._before_seal = before_seal

    async def pass_by(self, periods: Collection[str]) -> str:
        """Replays the log, so that `before_seal` is called for some of the periods; empty, or why that can't be."""
        try:
            found = await asyncio.to_thread(self._from_before, periods)
            if found is None:
                return "this one has no snapshot from before it was closed"
            tree, carried, record = found
            self._node.teach_skips(tree, carried)
            position = self._node.in_force.tree.position
            replayer = Replayer(tree, self._node.settings.apply_slice_ms, record, self._before_seal)
            await self._replay(replayer, position)
        except (StateDamagedError, StateError, RecordDamagedError, UpdateFailedError, ValueError, KeyError) as error:
            return f"it can't be made anew: {error}"
        except grpc.aio.AioRpcError as error:
            return f"the log can't be read: {error.details()}"
        except UnavailableError as error:
            return f"the log can't be read: {error}"
        except OSError as error:
            return f"it can't be made anew: {error}"
        return ""

    def _from_before(self, periods: Collection[str]) -> tuple[Tree, tuple[int, ...], tuple[int, int]] | None:
        """A tree of the import in force in which one of them is open yet, what it was offered when it was built, and
        its newest record: of the newest snapshot that is good for it, or of the log's beginning. Blocks."""
        sequence = self._node.core.sequence
        for snapshot in self._snapshots.all():
            label = read_label(snapshot.path)
            if (label.get("log_id"), label.get("import_id")) != (sequence.log_id, sequence.import_id):
                continue
            if set(periods) <= set(rules_of_state(read_meta(snapshot.path)).sealed_periods):
                continue
            tree, told = restore_tree(read_state(snapshot.path))
            return tree, told.carried_positions, told.last_record
        is_whole = sequence.import_id == 0 and sequence.log_end is not None and sequence.log_end.first_position == 1
        return (Tree.empty(self._node.founding_rules), (), (0, 0)) if is_whole else None

    async def _replay(self, replayer: Replayer, last_position: int) -> None:
        log_id, first_position = self._node.core.sequence.log_id, replayer.tree.position + 1
        if first_position > last_position:
            return
        async with PusherLog(self._pusher_address(), self._node.settings.log_silence_s, log_id) as log:
            async for records in log.read(first_position, last_position):
                await replayer.apply(records)
