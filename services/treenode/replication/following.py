"""Brings a tree that nobody sees yet to where the live one is, and puts it in the live one's place.

The new tree follows the log on its own while the live one goes on. For what needs both at one exact position, updates
are held back (on the pusher's side of the stream) for as long as the last few thousand take to replay; reports never
are.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

from services.shared.serving.errors import FailedPreconditionError, UnavailableError
from services.treenode.node.runner import NodeRunner
from services.treenode.replication.applying import Replayer
from services.treenode.replication.pusher_log import PusherLog
from services.treenode.tree import Tree

#: Updates may be held back once the new tree lacks no more than so many.
HOLD_UPDATES_MAX = 5_000


class Following:
    """One new tree on its way to be the live one."""

    def __init__(
        self, node: NodeRunner, tree: Tree, progress: Callable[[float], None], on_swap: Callable[[], None]
    ) -> None:
        """`progress`: told the share of the replay that is done; `on_swap`: called right before the tree is live."""
        self._node = node
        self._progress = progress
        self._on_swap = on_swap
        self._replayer = Replayer(tree, node.settings.apply_slice_ms)
        self._log_id = node.core.sequence.log_id
        self.tree = tree

    @property
    def _lag_updates(self) -> int:
        return self._node.core.sequence.position - self.tree.position

    async def follow(self, log: PusherLog, *, until_lag: int = HOLD_UPDATES_MAX) -> None:
        """Replays until the new tree lacks no more than `until_lag` of what the live one has.

        Raises:
            UnavailableError, FailedPreconditionError: The log, or the node's own, ended or changed meanwhile.
            AioRpcError, RecordDamagedError: The log could not be read.
        """
        while (behind := self._lag_updates) > until_lag:
            self.check_log()
            last = self.tree.position + behind
            async for records in log.read(self.tree.position + 1, last):
                await self._replayer.apply(records)
                self._progress(1.0 - (last - self.tree.position) / behind)
            if self.tree.position < last:
                raise UnavailableError(f"the log ended at {self.tree.position}, before {last}", reason="LOG_NOT_READ")

    @contextlib.asynccontextmanager
    async def level(self, log: PusherLog) -> AsyncIterator[None]:
        """Inside, both trees stand at one position, and updates wait. Raises what `follow` raises."""
        await self.follow(log)
        with self._held():
            # Once nothing more can be applied, both stand still.
            while self._lag_updates:
                await self.follow(log, until_lag=0)
                if self._lag_updates < 0:
                    raise UnavailableError("the node fell behind the new tree; ask again", reason="NODE_BEHIND")
            yield

    async def swap(self, log: PusherLog) -> None:
        """Puts the new tree in the live one's place, as far as that or further. Raises what `follow` raises."""
        node = self._node
        while True:
            await self.follow(log)
            with self._held():
                await self.follow(log, until_lag=0)
                async with node.gate.write():
                    self.check_log()
                    if self._lag_updates <= 0:
                        self._on_swap()
                        node.take_tree(self.tree, "", self._replayer.last_record)
                        return

    def check_log(self) -> None:
        """Raises where the position that the tree goes to means something else by now, or the node ends."""
        log_id = self._node.core.sequence.log_id
        if log_id != self._log_id and self._log_id:
            raise FailedPreconditionError(f"the node went over to log {log_id} meanwhile", reason="OTHER_LOG")
        if self._node.stop.is_set():
            raise UnavailableError("the node is asked to end")

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        self._node.applying.clear()
        try:
            yield
        finally:
            self._node.applying.set()
