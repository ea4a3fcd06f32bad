"""When snapshots are written, and how: a forked child writes the tree as it was at the fork, this process goes on."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Any

import msgspec

from services.shared.files.checksums import KnownChecksums
from services.shared.files.durable import open_new
from services.shared.files.sealed.errors import SealDamagedError
from services.shared.files.sealed.names import state_name
from services.shared.files.threads import in_thread
from services.shared.forms import Form
from services.shared.serving.errors import DataLossError
from services.treenode.memory import give_memory_back
from services.treenode.node.runner import NodeRunner, now_s
from services.treenode.snapshots.state_file import StateFile, StateLayout
from services.treenode.snapshots.state_writing import StateWriting
from services.treenode.snapshots.store import Snapshot, SnapshotStore
from services.treenode.tree import StateError, Tree

CHECK_INTERVAL_S = 1.0
WRITE_TIMEOUT_S = 1_800.0
#: After a snapshot that could not be written (a full disk, say), the next try waits this long.
RETRY_S = 30.0

logger = logging.getLogger(__name__)


class SnapshotWriter:
    """Writes the live tree's snapshots, one at a time."""

    def __init__(self, node: NodeRunner, store: SnapshotStore) -> None:
        self._node = node
        self._store = store
        self._turn = asyncio.Lock()
        self._wanted = asyncio.Event()
        #: (log, import, position) of the newest snapshot, and when it was written.
        self._saved = ("", 0, 0)
        self._saved_at_s = now_s()
        #: SHA-256 of snapshots that peers asked for.
        self._checksums = KnownChecksums()
        #: How long the last fork held this process up, and the last snapshot took, in seconds.
        self.fork_s = 0.0
        self.took_s = 0.0

    def restored(self, log_id: str, import_id: int, position: int) -> None:
        """The tree came from a snapshot of that state: it needs none now."""
        self._saved = (log_id, import_id, position)
        self._saved_at_s = now_s()

    def want(self) -> None:
        """A snapshot should be written soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Writes snapshots as they become due; ends when it is cancelled."""
        while True:
            try:
                async with asyncio.timeout(CHECK_INTERVAL_S):
                    await self._wanted.wait()
            except TimeoutError:
                if not self._due():
                    continue
            self._wanted.clear()
            try:
                await self.save()
            except OSError as error:
                logger.error("the snapshot could not be written; next try in %g s: %s", RETRY_S, error)
                await asyncio.sleep(RETRY_S)

    async def save(self) -> Snapshot | None:
        """Writes a snapshot of the tree as it is now, unless the newest one is just that; None for an empty tree.

        Raises:
            OSError: It could not be written; the ones before are untouched.
        """
        async with self._turn:
            if self._node.old is not None:
                # What a restart needs is the snapshot of the tree that is served; the next one is of an import.
                return None
            await self._node.gate.settled()
            state = self._state()
            is_other = state[:2] != self._saved[:2]
            path = self._store.path_of(*state[1:])
            if state == self._saved and await asyncio.to_thread(path.exists):
                return Snapshot(*state[1:], path)
            descriptor = await in_thread(open_new, self._store.unfinished)
            try:
                return await self._write(descriptor)
            finally:
                await in_thread(self._end, descriptor)
                if is_other:  # what the tree before had was freed meanwhile
                    await in_thread(give_memory_back)

    def _state(self) -> tuple[str, int, int]:
        tree = self._node.in_force.tree
        return self._node.core.sequence.log_id, tree.import_id, tree.position

    async def _write(self, descriptor: int) -> Snapshot | None:
        """Writes the tree as it is at the fork. Its name has what it had before, or the whole new file."""
        await self._node.gate.settled()
        # From here to the fork nothing waits: label and arrays are of one moment.
        began_s = time.perf_counter()
        tree, label, state = self._node.in_force.tree, self._label(), self._state()
        if state[1:] == (0, 0):
            return None
        meta, arrays = tree.state()
        writing = StateWriting(descriptor, self._store.path_of(*state[1:]).name, StateLayout(arrays), label, meta)
        self.fork_s = time.perf_counter() - began_s
        size_bytes = await writing.finished(WRITE_TIMEOUT_S)
        await in_thread(self._store.take, self._store.unfinished, *state[1:])
        await in_thread(self._store.set_others_aside, label["log_id"])
        self.took_s = time.perf_counter() - began_s
        self._saved, self._saved_at_s = state, now_s()
        await asyncio.to_thread(self._store.prune)
        logger.info("snapshot of import %d at position %d: %d bytes in %.1f s", *state[1:], size_bytes, self.took_s)
        return Snapshot(*state[1:], self._store.path_of(*state[1:]))

    def _end(self, descriptor: int) -> None:
        os.close(descriptor)
        self._store.discard(self._store.unfinished)

    async def checksum(self, snapshot: Snapshot) -> bytes:
        """SHA-256 of what is in a snapshot file. Raises DataLossError where it is sealed, and not what was."""
        try:
            return await asyncio.to_thread(self._checksums.of, snapshot.path, state_name(snapshot.path.name))
        except SealDamagedError as error:
            raise DataLossError(str(error)) from error

    def _due(self) -> bool:
        sequence = self._node.core.sequence
        state = (sequence.log_id, sequence.import_id, sequence.position)
        if state == self._saved or self._node.old is not None:
            return False
        settings = self._node.settings
        return (
            state[:2] != self._saved[:2]
            or state[2] - self._saved[2] >= settings.snapshot_updates
            or now_s() - self._saved_at_s >= settings.snapshot_interval_s
        )

    def _label(self) -> dict[str, Any]:
        sequence = self._node.core.sequence
        return {
            "cluster": self._node.cluster.name,
            "node": self._node.settings.name,
            "log_id": sequence.log_id,
            "import_id": sequence.import_id,
            "position": sequence.position,
            "digest": self._node.in_force.tree.digest,
            "carried_positions": list(self._node.in_force.carried),
            "last_record": list(self._node.in_force.last_record),
            "written_at_s": int(time.time()),
        }


class Label(msgspec.Struct, frozen=True):
    """What a snapshot says of itself; see `SnapshotWriter`."""

    cluster: str
    log_id: str
    import_id: int
    position: int
    digest: int
    carried_positions: tuple[int, ...]
    #: Position and checksum of the newest record that is known to be in it; (0, 0): none.
    last_record: tuple[int, int] = (0, 0)


_LABEL: Form[Label] = Form(Label)


def restore_tree(state: StateFile) -> tuple[Tree, Label]:
    """The tree of a snapshot, and what it says of itself. Blocks: run it in a thread.

    Raises:
        StateError: It is none, or not the one that the label speaks of.
    """
    try:
        label = _LABEL.of(state.label)
    except msgspec.ValidationError as error:
        raise StateError(f"the snapshot's label is odd: {error}") from error
    tree = Tree.from_state(state.meta, state.arrays)
    found = (tree.import_id, tree.position, tree.digest)
    wanted = (label.import_id, label.position, label.digest)
    if found != wanted:
        raise StateError(f"the snapshot holds (import, position, digest) {found}, its label says {wanted}")
    return tree, label
