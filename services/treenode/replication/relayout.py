"""Lays the tree out anew once much of it has changed, or of its texts was replaced, while the old layout goes on.

A copy is taken with the tree held still (some tens of milliseconds for a million members), laid out in a thread,
brought up by the log, and put in the live one's place.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from services.shared.serving.errors import FastTreeError
from services.treenode.node.cutover_events import Failed, RelayoutAsked
from services.treenode.node.runner import NodeRunner
from services.treenode.replication.build_runner import BuildRunner
from services.treenode.tree import Tree

CHECK_INTERVAL_S = 10.0
#: After one that could not be brought up by the log (no pusher, say), the next try waits this long.
RETRY_S = 60.0
#: So much of texts that nobody has any more is let be.
DEAD_BYTES_MIN = 64 * 1024**2

logger = logging.getLogger(__name__)


class Relayout:
    """Watches how much of the live tree has changed since it was laid out."""

    def __init__(self, node: NodeRunner, pusher_address: Callable[[], str]) -> None:
        self._node = node
        self._pusher_address = pusher_address
        #: How long the last copy held updates up, in seconds.
        self.copy_s = 0.0

    async def run(self) -> None:
        """Lays the tree out anew whenever that is due; ends when it is cancelled."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            if not self.due():
                continue
            try:
                await self.run_once()
            except FastTreeError as error:
                logger.warning("the tree could not be laid out anew: %s; next try in %g s", error, RETRY_S)
                await asyncio.sleep(RETRY_S)
            except Exception:  # a defect of the layout: the tree goes on as it is
                logger.exception("the tree could not be laid out anew; next try in %g s", RETRY_S)
                await asyncio.sleep(RETRY_S)

    def due(self) -> bool:
        """Whether enough has changed: of the links, or of the texts, of which half may be dead."""
        tree, settings = self._node.in_force.tree, self._node.settings
        share = settings.relayout_changed_percent / 100 * tree.member_count
        changed = tree.change_count >= max(settings.relayout_changes_min, share)
        replaced = tree.further.dead_bytes >= max(DEAD_BYTES_MIN, tree.further.text_bytes / 2)
        return bool(self._pusher_address()) and (changed or replaced)

    async def run_once(self) -> None:
        """Lays the tree out anew now.

        Raises:
            FastTreeError: The log could not bring the new tree up, or it is another tree by now; the old one stays.
        """
        began_s = time.perf_counter()
        build = RelayoutBuild(self._node, self._pusher_address())
        outcome = await build.run(RelayoutAsked(build.number))
        self.copy_s = build.copy_s
        if isinstance(outcome, Failed):
            raise build.error_of(outcome)
        took_s = time.perf_counter() - began_s
        logger.info("laid the tree out anew in %.1f s; the copy took %.3f s", took_s, self.copy_s)


class RelayoutBuild(BuildRunner):
    """A copy of the live tree in a fresh layout."""

    #: How long the copy held updates up, in seconds.
    copy_s = 0.0

    async def make(self) -> Tree:
        """Copies the tree while it is held still, then lays the copy out in a thread."""
        node = self.node
        began_s = time.perf_counter()
        copy = await node.gate.read_begun(lambda: partial(_copy_of, node.in_force.tree))
        self.copy_s = time.perf_counter() - began_s
        return await asyncio.to_thread(copy.relayout)


def _copy_of(tree: Tree) -> Tree:
    return Tree.from_state(*tree.state())
