"""Writes the state of a tree, as it is at one moment, to the folder of closed periods: by a forked child."""

from __future__ import annotations

import os
import time
from pathlib import Path

from services.shared.files.durable import open_new
from services.shared.files.threads import in_thread
from services.treenode.periods.files import KeptFile, PeriodFiles, label_of
from services.treenode.periods.keeping import Kept
from services.treenode.snapshots.saving import WRITE_TIMEOUT_S
from services.treenode.snapshots.state_file import StateLayout
from services.treenode.snapshots.state_writing import StateWriting
from services.treenode.tree import Tree
from services.treenode.tree.building.kept import state_to_keep


class StateWrite:
    """One write under way."""

    def __init__(self, files: PeriodFiles, cluster: str, tree: Tree, state: Kept) -> None:
        """Writes the tree as it is now; returns at once. Await `finished` soon after.

        Raises:
            OSError: There is no room, or no process.
        """
        self._files = files
        self._state = state
        self._part: Path = files.part_of(state, "written")
        label = label_of(state, cluster, tree.digest, int(time.time()))
        meta, arrays = state_to_keep(tree)
        layout, name = StateLayout(arrays), files.path_of(state).name
        began_s = time.perf_counter()
        self._descriptor = open_new(self._part)
        try:
            self._writing = StateWriting(self._descriptor, name, layout, label, meta)
        except BaseException:
            os.close(self._descriptor)
            files.discard(self._part)
            raise
        #: How long the fork took, in seconds.
        self.fork_s = time.perf_counter() - began_s

    async def finished(self) -> KeptFile:
        """Returns once the file is whole and has its name.

        Raises:
            OSError: It could not be written; nothing is left of it.
        """
        try:
            await self._writing.finished(WRITE_TIMEOUT_S)
            return await in_thread(self._files.take, self._part, self._state)
        finally:
            await in_thread(self._end)

    def _end(self) -> None:
        os.close(self._descriptor)
        self._files.discard(self._part)
