"""Import files pushed during a chaos run, and the state that they and the log must come to."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from bench.cluster.cluster import ClusterError, RunningCluster, wait_for
from bench.cluster.judge import replay_onto, teach_skips, tree_of_file
from bench.engine.genealogy import Genealogy, make_genealogy, write_genealogy
from fasttree.client import Client, FastTreeClientError, UploadOptions
from fasttree.v1 import pusher_pb2, types_pb2
from services.shared.files.checksums import file_sha256
from services.shared.rules import RulesHistory
from services.treenode.tree import CarriedHold, Tree, resolved

_OVER = (
    pusher_pb2.IMPORT_STATE_DONE,
    pusher_pb2.IMPORT_STATE_REFUSED,
    pusher_pb2.IMPORT_STATE_SUPERSEDED,
)
SETTLE_TIMEOUT_S = 90.0


class Imports:
    """One import after another: the same members, other volumes."""

    def __init__(self, cluster: RunningCluster, client: Client, folder: Path, members: int, seed: int) -> None:
        self._cluster = cluster
        self._client = client
        self._folder = folder
        self._draw = random.Random(seed)
        self._genealogy: Genealogy = make_genealogy(members, seed=seed, roots=1)
        #: By the SHA-256 of what is in it: an upload whose answer was lost may be known under an id of its own.
        self._files: dict[bytes, Path] = {}
        self._taken: dict[int, types_pb2.ImportManifest] = {}
        ids = [text.decode() for text in self._genealogy.ids.tolist()]
        #: The one without a sponsor; no update of a mix removes it.
        self.root = ids[int((self._genealogy.sponsor < 0).argmax())]
        self.member_ids = [member_id for member_id in ids if member_id != self.root]
        #: How many were taken in, and refused or given up.
        self.uploaded, self.failed = 0, 0

    async def push(self) -> None:
        """Uploads one more, as of the log's end now. Its rollout goes on by itself."""
        volume = next(iter(self._genealogy.volumes.values()))
        volume += self._draw.randrange(1, 1_000)
        path = self._folder / f"members-{self.uploaded + self.failed}.csv"
        await asyncio.to_thread(write_genealogy, self._genealogy, path)
        self._files[file_sha256(path)] = path
        try:
            as_of = (await self._client.get_pusher()).log_end.position
            # Members that updates enrolled are not in the file: more than a careful operator would let go.
            options = UploadOptions(as_of_position=as_of, force=True)
            await self._client.upload_import(path, options)
        except FastTreeClientError:
            self.failed += 1
            return
        self.uploaded += 1

    async def begin(self) -> None:
        """Uploads the first one, and waits until every node serves from it: before that, a read finds no member, and a
        rollout is over without a node that the pusher does not reach. Raises ClusterError where it is not taken."""
        await self.push()
        if not self.uploaded:
            raise ClusterError("the first import was not taken")
        await self.wait_settled()
        await self._cluster.wait_applied(0, import_id=1)
        await self._cluster.wait_ready()

    async def settled(self) -> bool:
        """Whether the newest import's rollout is over."""
        known = (await self._cluster.pusher()).imports
        for status in known:
            if status.state == pusher_pb2.IMPORT_STATE_DONE:
                self._taken[status.manifest.import_id] = status.manifest
        return all(status.state in _OVER for status in known[:1])

    async def wait_settled(self) -> None:
        """Waits for that. Raises ClusterError where it takes too long."""
        try:
            await wait_for(self.settled, SETTLE_TIMEOUT_S, "the newest import's rollout to be over")
        except ClusterError as error:
            told = str((await self._cluster.pusher()).imports[:1])
            raise ClusterError(f"{error}; the pusher says: {told}") from error

    def replay(self, updates: list[types_pb2.Update]) -> tuple[Tree, list[str]]:
        """The tree that files and log come to, import after import, and what is wrong with imports' carried positions.

        An import carries what was held in the tree before it when its file was taken; that is worked out anew here.
        For when all is settled.
        """
        wrong: list[str] = []
        tree: Tree | None = None
        history = RulesHistory(enumerate(updates, 1))
        for _, manifest in sorted(self._taken.items()):
            carried: list[int] = []
            holds: list[CarriedHold] = []
            if tree is not None:
                replay_onto(tree, updates[: manifest.as_of_position])
                carried = tree.carried_positions(manifest.as_of_position)
                holds = tree.carried_holds(manifest.as_of_position)
            if carried != list(manifest.carried_positions):
                wrong.append(f"import {manifest.import_id} carries {manifest.carried_positions}, held were {carried}")
            path = self._files[manifest.sha256]
            removals = tree.removals_at(manifest.as_of_position) if tree is not None else []
            tree = tree_of_file(path, updates, import_id=manifest.import_id, as_of_position=manifest.as_of_position)
            teach_skips(tree, updates)
            tree.carry_removals(removals)
            tree.offer_carried(carried, [resolved(updates[at - 1], history.at(at - 1)) for at in carried], holds)
        if tree is None:
            raise RuntimeError("no import was taken")
        replay_onto(tree, updates)
        tree.validate()
        return tree, wrong
