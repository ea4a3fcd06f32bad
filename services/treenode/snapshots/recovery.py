"""A tree from before an update that broke the one in force: from the node's newest snapshot, and the log.

An engine that fails usually does so before it has changed anything. Where it fails in the middle of an update, the tree
is neither what it was nor what it should be. All of this goes on in the gate: reports wait, and none fails.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import grpc.aio

from services.shared.serving.errors import UnavailableError
from services.shared.wire.record import RecordDamagedError
from services.treenode.node.runner import NodeRunner
from services.treenode.node.sequence_events import (
    Halt,
)
from services.treenode.node.tree_in_force import TreeInForce
from services.treenode.replication.applying import Replayer, halt_of
from services.treenode.replication.pusher_log import PusherLog
from services.treenode.snapshots.saving import restore_tree
from services.treenode.snapshots.state_file import StateFile
from services.treenode.snapshots.store import SnapshotStore
from services.treenode.tree import StateError, Tree, UpdateFailedError

logger = logging.getLogger(__name__)


class Recovery:
    """Makes such a tree."""

    def __init__(self, node: NodeRunner, store: SnapshotStore, pusher_address: Callable[[], str]) -> None:
        self._node = node
        self._store = store
        self._pusher_address = pusher_address

    async def before(self, halt: Halt) -> Halt | None:
        """Puts a tree from before the update in force, as far on as the log lets it come; the halt that it ends at.
        None: there is no tree to be had; one that is bare (node.py, rule 1) is none, but where the broken one began."""
        began_s, broke_at = time.perf_counter(), halt.before
        while True:
            try:
                restored = await asyncio.to_thread(self._restored)
            except StateError as error:
                logger.error("the newest snapshot can't be read: %s", error)
                return None
            if restored is None or restored.tree.position >= halt.before:
                return None
            self._node.teach_skips(restored.tree, restored.carried)
            replayer = Replayer(restored.tree, self._node.settings.apply_slice_ms, restored.last_record)
            try:
                await self._replay(replayer, halt.before - 1)
            except UpdateFailedError as failed:
                # Another one, earlier. Each time around ends further back.
                halt = halt_of(failed)
                if not failed.is_whole:
                    continue
            if replayer.tree.is_bare and replayer.tree.position + 1 < broke_at:
                return None
            self._node.stand_on(TreeInForce(replayer.tree, replayer.last_record, restored.carried))
            took_s = time.perf_counter() - began_s
            logger.warning("made the tree at position %d anew in %.2f s", replayer.tree.position, took_s)
            return halt

    def _restored(self) -> TreeInForce[Tree, int] | None:
        """The newest snapshot, if it is of the log and import that the node is at; nothing at all, where the log has
        everything from its beginning. Blocks."""
        state = self._store.load_newest()
        if state is None or not self._fits(state):
            sequence = self._node.core.sequence
            is_whole = sequence.import_id == 0 and sequence.log_end is not None and sequence.log_end.first_position == 1
            return TreeInForce(Tree.empty(self._node.founding_rules), (0, 0)) if is_whole else None
        tree, label = restore_tree(state)
        return TreeInForce(tree, label.last_record, label.carried_positions)

    def _fits(self, state: StateFile) -> bool:
        sequence, label = self._node.core.sequence, state.label
        return (label.get("log_id"), label.get("import_id")) == (sequence.log_id, sequence.import_id)

    async def _replay(self, replayer: Replayer, last_position: int) -> None:
        """Brings the tree up to there, or to where the log can't be read. Raises UpdateFailedError."""
        tree = replayer.tree
        if tree.position >= last_position:
            return
        try:
            async with PusherLog(self._pusher_address(), self._node.settings.log_silence_s) as log:
                async for records in log.read(tree.position + 1, last_position):
                    await replayer.apply(records)
        except (grpc.aio.AioRpcError, RecordDamagedError, UnavailableError) as error:
            text = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
            logger.error("can't read the log on from %d: %s", tree.position, text)
