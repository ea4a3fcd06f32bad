"""What a node starts from: the newest of its own snapshots that is good."""

from __future__ import annotations

import asyncio
import logging

from services.treenode.node.cutover_events import LoadBegun, LoadFailed
from services.treenode.node.runner import NodeRunner
from services.treenode.snapshots.early_read import EarlyRead
from services.treenode.snapshots.saving import SnapshotWriter, restore_tree
from services.treenode.snapshots.store import SnapshotStore
from services.treenode.tree import StateError

logger = logging.getLogger(__name__)


async def restore(node: NodeRunner, store: SnapshotStore, writer: SnapshotWriter, early: EarlyRead | None) -> None:
    """Gives the node the tree of its newest good snapshot; none where there is none. `early`: what was begun to be read
    of it."""
    for _ in range(len(store.all())):
        node.handle(LoadBegun("its own snapshot"))
        state = await asyncio.to_thread(store.load_newest, early.take if early else lambda path: None)
        if state is None:
            node.handle(LoadFailed("it has no snapshot that is good"))
            return
        try:
            tree, label = await asyncio.to_thread(restore_tree, state)
        except StateError as error:
            snapshot = store.find(state.label["import_id"], state.label["position"])
            logger.error("a snapshot is set aside: %s", error)
            node.handle(LoadFailed(str(error)))
            if snapshot is not None:
                await asyncio.to_thread(store.set_aside, snapshot, str(error))
            continue
        node.restore(tree, label.log_id, label.last_record, label.carried_positions)
        writer.restored(label.log_id, tree.import_id, tree.position)
        logger.info("starts from its snapshot: import %d, position %d", tree.import_id, tree.position)
        return
