"""An update that every engine fails at: each node halts before it and serves on, until the operator skips it."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from bench.cluster.cluster import RunningCluster, wait_for
from fasttree.client import Client
from fasttree.v1 import pusher_pb2, types_pb2

HALT_TIMEOUT_S = 60.0


def path_with_defect() -> str:
    """A PYTHONPATH whose processes have the defect that `planted/sitecustomize.py` describes."""
    return os.pathsep.join([str(Path(__file__).parent / "planted"), os.environ.get("PYTHONPATH", "")])


class Poison:
    """Pushes such updates to a cluster with that defect."""

    def __init__(self, cluster: RunningCluster, client: Client, member_id: str) -> None:
        self._cluster = cluster
        self._client = client
        self._member_id = member_id
        self._numbers = itertools.count(1)
        #: Of those pushed.
        self.receipts: list[pusher_pb2.Receipt] = []

    async def push_and_skip(self) -> None:
        """Pushes one, waits until every node has halted before it, and skips it."""
        change = types_pb2.MemberChanged(member_id=self._member_id, rank=7)
        update = types_pb2.Update(update_id=f"poison-{next(self._numbers)}", member_changed=change)
        receipts = [receipt async for receipt in self._client.push([update])]
        self.receipts += receipts
        position = receipts[0].position

        async def all_halted() -> bool:
            return [node.halted_before for node in (await self._cluster.pusher()).nodes].count(position) == len(
                self._cluster.node_names
            )

        await wait_for(all_halted, HALT_TIMEOUT_S, f"every node to halt before {position}")
        await self._client.skip_update(position, "a poisoned update of a chaos run")
