"""What goes wrong in a storm, and how all of it ends.

Each storm draws which faults it has (a storm of everything hides what a storm of one thing shows) and how often.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.simulator.cluster import DRIFT_MAX, Cluster
from tests.simulator.disk import Service
from tests.simulator.node_process import NodeProcess
from tests.simulator.node_state import Snapshot
from tests.simulator.pusher_process import PusherProcess
from tests.simulator.stored import store as store_faults

FAULTS = (
    "crash",
    "freeze",
    "cut",
    "isolate",
    "snap",
    "late",
    "slow_link",
    "disk_full",
    "disk_slow",
    "damage",
    "drift",
    "wall_jump",
    "drain",
    "restart_all",
    "crash_in_write",
    "bad_read",
    "relayout",
)


class Storm:
    """Faults at random times until `heal`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._random = cluster.world.random
        self._victims = cluster.services
        self._raging = False
        self._kinds: list[str] = []
        self._mean_s = 1.0

    def begin(self) -> None:
        """Draws the faults of this storm and starts them."""
        self._raging = True
        store = self._cluster.store
        self._kinds = self._random.sample(FAULTS, self._random.randint(1, 6))
        if store is not None:
            self._kinds += store.random.sample(store_faults.FAULTS, store.random.randint(0, 3))
        self._mean_s = self._random.choice((0.5, 2.0, 5.0))
        self._world.tell("storm", f"begins: {', '.join(self._kinds)}, every {self._mean_s} s")
        self._next()

    def heal(self) -> None:
        """All faults end: links whole, disks empty, everybody runs."""
        self._raging = False
        self._world.tell("storm", "ends")
        network = self._cluster.network
        network.late_chance = 0.0
        network.slow.clear()
        self._cluster.pusher.bad_reads = 0.0
        for source, target in sorted(network.cuts):
            network.heal(source, target)
        if self._cluster.store is not None:
            self._cluster.store.bucket.heal()
        for victim in self._victims:
            victim.thaw()
            if not victim.alive:
                victim.start()
            victim.disk.full = False
            victim.disk.stall_chance = 0.0
            victim.disk.ambush = None

    def _next(self) -> None:
        if not self._raging:
            return
        self._world.after(self._random.expovariate(1.0 / self._mean_s), self._strike)

    def _strike(self) -> None:
        if self._raging:
            strikes: dict[str, Callable[[Service], None]] = {
                "crash": self._crash,
                "freeze": self._freeze,
                "cut": self._cut,
                "isolate": self._isolate,
                "snap": self._snap,
                "late": self._late,
                "slow_link": self._slow_link,
                "disk_full": self._disk_full,
                "disk_slow": self._disk_slow,
                "damage": self._damage,
                "drift": self._drift,
                "wall_jump": self._wall_jump,
                "drain": self._drain,
                "restart_all": self._restart_all,
                "crash_in_write": self._crash_in_write,
                "bad_read": self._bad_read,
                "relayout": self._relayout,
            }
            kind, victim = self._random.choice(self._kinds), self._random.choice(self._victims)
            if kind in strikes:
                strikes[kind](victim)
            elif self._cluster.store is not None:
                self._cluster.store.strike(kind)
            self._next()

    def _later(self, least_s: float, most_s: float, call: Callable[..., object], *arguments: object) -> None:
        # Short and long ones alike.
        share = self._random.random() ** 2
        self._world.after(least_s + (most_s - least_s) * share, call, *arguments)

    def _crash(self, victim: Service) -> None:
        if victim.alive:
            victim.crash()
            self._later(0.05, 8.0, self._start, victim)

    def _crash_in_write(self, victim: Service) -> None:
        """Dies while its next write is under way, or right after: before anybody could tell."""
        victim.disk.ambush = lambda length_s: self._world.after(
            length_s * 1.5 * self._random.random(), self._crash_raging, victim
        )

    def _crash_raging(self, victim: Service) -> None:
        if self._raging:
            self._crash(victim)

    def _start(self, victim: Service) -> None:
        if not victim.alive:
            victim.start()

    def _restart_all(self, _: Service) -> None:
        for victim in self._victims:
            if self._random.random() < 0.7:
                self._crash(victim)

    def _freeze(self, victim: Service) -> None:
        if victim.alive and not victim.frozen:
            victim.freeze()
            self._cluster.network.froze(victim)
            self._later(0.05, 8.0, self._thaw, victim, victim.life)

    def _thaw(self, victim: Service, life: int) -> None:
        if victim.life == life:
            victim.thaw()

    def _cut(self, victim: Service) -> None:
        other = self._random.choice([process.name for process in self._victims if process is not victim] + ["vip"])
        self._cut_pair(victim.name, other)

    def _cut_pair(self, first: str, second: str) -> None:
        network = self._cluster.network
        self._world.tell("storm", f"cuts {first} and {second}")
        ways = self._random.choice((((first, second),), ((first, second), (second, first)), ((second, first),)))
        for source, target in ways:
            network.cut(source, target)
            self._later(0.05, 10.0, network.heal, source, target)

    def _isolate(self, victim: Service) -> None:
        for other in self._victims:
            if other is not victim:
                self._cut_pair(victim.name, other.name)

    def _snap(self, _: Service) -> None:
        end = self._cluster.network.random_end()
        if end is not None:
            self._cluster.network.snap(end)

    def _late(self, _: Service) -> None:
        network = self._cluster.network
        network.late_chance = self._random.choice((0.0, 0.05, 0.3))
        network.late_s = self._random.choice((0.1, 0.6, 3.0))

    def _slow_link(self, victim: Service) -> None:
        """One direction of one link is slow: about as slow as leases are long."""
        cluster = self._cluster
        others = [cluster.coordinator] if victim is not cluster.coordinator else cluster.nodes
        ends = (victim.name, self._random.choice(others).name)
        link = ends if self._random.random() < 0.5 else ends[::-1]
        self._world.tell("storm", f"slows {link[0]} to {link[1]}")
        cluster.network.slow[link] = cluster.plan.lease_s * self._random.uniform(0.1, 1.2)
        self._later(0.5, 8.0, cluster.network.slow.pop, link, None)

    def _disk_full(self, victim: Service) -> None:
        victim.disk.full = True
        victim.tell("disk is full")
        self._later(0.2, 8.0, setattr, victim.disk, "full", False)

    def _disk_slow(self, victim: Service) -> None:
        victim.disk.stall_chance = self._random.choice((0.0, 0.1, 0.5))

    def _bad_read(self, _: Service) -> None:
        self._cluster.pusher.bad_reads = self._random.choice((0.0, 0.1, 0.5))

    def _relayout(self, _: Service) -> None:
        """No fault, but one more tree that would take the live one's place."""
        node = self._random.choice(self._cluster.nodes)
        if node.alive:
            node.timer(0.0, node.loader.lay_out_anew)

    def _damage(self, _: Service) -> None:
        nodes = self._cluster.nodes
        # Where the log is damaged, the others' snapshots are the last whole copies.
        self._spoil_snapshots(nodes[0] if self._cluster.pusher.store.damaged else self._random.choice(nodes))

    def _spoil_snapshots(self, node: NodeProcess) -> None:
        node.tell("snapshot is damaged")
        node.disk.damage("snapshot", _spoil)
        if self._random.random() < 0.3:
            node.disk.damage("snapshot-previous", _spoil)

    def damage_log(self) -> None:
        """Flips bits of a record in the pusher's log: one that every node has in its snapshot.

        Behind the position of the import in force too: a node that comes back with an older import can't build that
        one any more. One node, whose snapshots stay whole from here on, has it in its snapshot then.
        """
        cluster = self._cluster
        log, in_force = cluster.pusher.store, cluster.pusher.rollout.in_force
        saved: list[Snapshot | None] = [node.disk.read("snapshot") for node in cluster.nodes]
        sound = [snapshot for snapshot in saved if snapshot is not None and snapshot.sound]
        is_kept = any(s is not None and s.sound and s.tree.import_id == in_force for s in saved[1:])
        if len(sound) < len(cluster.nodes) or not is_kept or log.damaged:
            return
        newest = min([*(snapshot.tree.position for snapshot in sound), len(log.updates) - 4])
        # What is still held has to be read again by each import to come.
        held = cluster.nodes[0].tree.held
        choices = [position for position in range(log.first, newest + 1) if position not in held]
        as_of = cluster.pusher.imports[in_force].as_of_position if in_force else newest
        late = [position for position in choices if position > as_of]
        if not choices:
            return
        log.damaged = self._random.choice(late if late and self._random.random() < 0.7 else choices)
        self._world.tell("storm", f"damages the log's record {log.damaged}")
        if self._random.random() < 0.5:
            # The node that may lose its snapshots comes back with an older one, or with none.
            self._spoil_snapshots(cluster.nodes[0])
            self._crash(cluster.nodes[0])

    def _drift(self, victim: Service) -> None:
        victim.clock.drift(1.0 + self._random.uniform(-DRIFT_MAX, DRIFT_MAX))

    def _wall_jump(self, victim: Service) -> None:
        victim.clock.wall_offset_s = self._random.uniform(-4000.0, 4000.0)

    def _drain(self, _: Service) -> None:
        drained: list[PusherProcess | NodeProcess] = [self._cluster.pusher, *self._cluster.nodes]
        victim = self._random.choice(drained)
        if victim.alive and not victim.frozen:
            victim.drain()
            self._later(0.5, 5.0, self._start, victim)


def _spoil(saved: Snapshot | None) -> Snapshot | None:
    """Some bytes of the file are wrong: so is its checksum, and the tree in it."""
    if saved is None:
        return None
    tree = saved.tree.copy()
    for member, (volumes, status) in tree.members.items():
        tree.members[member] = (volumes, status + 1)
        tree.digest += 1
        break
    return saved._replace(tree=tree, sound=False)
