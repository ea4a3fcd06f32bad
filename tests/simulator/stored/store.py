"""The store of one cluster: who uses it, what goes wrong with it, and the loss of all that nodes have."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tests.simulator.node_state import Snapshot
from tests.simulator.stored.bucket import Bucket
from tests.simulator.stored.checker import StoreChecker
from tests.simulator.stored.node import SETTINGS, NodeStore

if TYPE_CHECKING:
    from tests.simulator.cluster import Cluster
    from tests.simulator.node_process import NodeProcess

FAULTS = ("store_away", "store_cut", "store_slow", "store_mute", "store_stale", "store_rot", "lose_disk")
#: So long a snapshot is waited for that somebody stores, in seconds.
STORED_S, LOOK_S, AT_ONCE_S = 60.0, 1.0, 0.05
#: So long reads come while nodes start from nothing.
READS_S = 5


class ObjectStore:
    """Draws of its own."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._world = cluster, cluster.world
        self.random = Random(f"store {cluster.world.seed}")
        self.checker = StoreChecker(SETTINGS.snapshots_stored)
        self.checker.join(cluster)
        self.bucket = Bucket(cluster.world, self.checker)
        # Files that the real code reads and writes; gone with the cluster.
        self._files = tempfile.TemporaryDirectory(prefix="simulated-")
        for node in cluster.nodes:
            node.stored = NodeStore(node, self.bucket, Path(self._files.name))

    def good(self) -> list[Snapshot]:
        """The good snapshots of the log, the newest first."""
        return self.checker.good(self.bucket.objects, self._cluster.pusher.log_id)

    def close(self) -> None:
        """The story is over: nothing stays under way."""
        for node in self._cluster.nodes:
            if node.stored is not None:
                node.stored.end()
        self._files.cleanup()

    # ---- faults

    def strike(self, kind: str) -> None:
        """One of the faults begins; most of them end by themselves."""
        bucket, random = self.bucket, self.random
        node = random.choice(self._cluster.nodes)
        self._world.tell("storm", f"{kind}, {node.name}")
        match kind:
            case "store_away":
                bucket.is_away = True
                self._later(lambda: setattr(bucket, "is_away", False))
            case "store_cut":
                bucket.cut_off.add(node.name)
                self._later(lambda: bucket.cut_off.discard(node.name))
            case "store_slow":
                bucket.slow_s = random.choice((0.5, 2.0, 6.0))
                self._later(lambda: setattr(bucket, "slow_s", 0.0))
            case "store_mute":
                bucket.lost_chance = random.choice((0.1, 0.5))
                self._later(lambda: setattr(bucket, "lost_chance", 0.0))
            case "store_stale":
                bucket.stale_s = random.choice((0.5, 3.0, 9.0))
                self._later(lambda: setattr(bucket, "stale_s", 0.0))
            case "store_rot":
                self._rot()
            case _:
                self._lose_disk(node)

    def _later(self, end: Callable[[], object]) -> None:
        self._world.after(0.5 + 12.0 * self.random.random() ** 2, end)

    def _rot(self, prefix: str = "") -> None:
        """Bytes of some object whose name begins so are other ones, or it is cut short, or gone."""
        objects, random = self.bucket.objects, self.random
        names = sorted(name for name in objects if name.startswith(prefix))
        if not names:
            return
        name = random.choice(names)
        data = bytearray(objects[name])
        harm = random.choice(("bytes", "digit", "digit", "cut", "gone"))
        digits = [place for place, byte in enumerate(data) if 0x30 <= byte <= 0x39]
        if harm == "digit" and digits:
            place = random.choice(digits)
            data[place] = 0x30 + (data[place] - 0x30 + 1) % 10
        elif harm == "cut" or not data:
            del data[len(data) // 2 :]
        else:
            data[random.randrange(len(data))] ^= 0x11
        self._world.tell("storm", f"{name} is damaged: {harm}")
        self.bucket.rot(name, None if harm == "gone" else bytes(data))

    def _lose_disk(self, node: NodeProcess) -> None:
        """A node's machine is lost, and given back empty; not where it may have what nobody else has."""
        if self._cluster.pusher.store.damaged or not node.alive:
            return
        self._burn(node)
        self._world.after(6.0 * self.random.random(), self._start, node)

    def _burn(self, node: NodeProcess) -> None:
        node.crash()
        node.disk.wipe()
        if node.stored is not None:
            node.stored.wipe()
        history = self._cluster.history
        history.had_trees -= {node.name}

    @staticmethod
    def _start(node: NodeProcess) -> None:
        if not node.alive:
            node.start()

    # ---- a story

    def lose_all(self, light_load: Callable[[], None]) -> None:
        """Every node loses its state at one instant, and comes back with nothing: where the log and imports alone would
        not bring it back, what is stored has to. Sometimes that store is not well either, for a while; yet of a state
        that they would not bring back, one good snapshot stays."""
        cluster, world, random, log = self._cluster, self._world, self.random, self._cluster.pusher.store
        limit = world.now + STORED_S
        while not self.good() and world.now < limit:
            world.run(world.now + LOOK_S)
        light_load()
        world.run(world.now + 1.0)
        good = self.good()
        enough = [saved for saved in good if not log.damaged or self._is_past_damage(saved)]
        if log.damaged and not enough:
            return
        if good and not log.damaged and random.random() < 0.6:
            self._damage_log(good[0])
        elif good and random.random() < 0.6 and (not log.damaged or len(enough) > 1):
            self._rot(f"{good[0].tree.import_id:06d}-{good[0].tree.position:012d}-")
        for node in cluster.nodes:
            self._burn(node)
        trouble = random.choice(("", "", "store_away", "store_slow", "store_mute", "store_stale"))
        if trouble:
            self.strike(trouble)
        for node in cluster.nodes:
            world.after(5.0 * random.random(), self._start, node)
        world.run(world.now + 6.0)

    def lose_all_bare(self, light_load: Callable[[], None]) -> None:
        """The first import has just come in force when every node loses its state: what is stored is of before it, and
        of before the first member, unless a node has stored its own since. Nobody is shown an empty tree."""
        cluster, world, random = self._cluster, self._world, self.random
        limit = world.now + STORED_S
        while not self.good() and world.now < limit:
            world.run(world.now + LOOK_S)
        cluster.company.export(sound=True, upload_s=0.1)
        while not cluster.pusher.rollout.in_force and world.now < limit:
            world.run(world.now + AT_ONCE_S)
        for node in cluster.nodes:
            self._burn(node)
        for node in cluster.nodes:
            world.after(random.random(), self._start, node)
        for _ in range(READS_S):
            light_load()
            world.run(world.now + 1.0)

    def _is_past_damage(self, saved: Snapshot) -> bool:
        pusher = self._cluster.pusher
        return saved.tree.import_id == pusher.rollout.in_force and saved.tree.position >= pusher.store.damaged

    def _damage_log(self, newest: Snapshot) -> None:
        """A record behind the position of the import in force, so that nobody can build that one any more."""
        pusher, tree = self._cluster.pusher, newest.tree
        if tree.import_id != pusher.rollout.in_force:
            return
        as_of = pusher.imports[tree.import_id].as_of_position if tree.import_id else 0
        # What is still held has to be read again by each import to come.
        held = {position for node in self._cluster.nodes for position in node.tree.held} | set(tree.held)
        choices = [each for each in range(max(as_of + 1, pusher.store.first), tree.position + 1) if each not in held]
        if choices:
            pusher.store.damaged = self.random.choice(choices)
            self._world.tell("storm", f"damages the log's record {pusher.store.damaged}")
