"""One simulated cluster, put together from a plan that a seed draws."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from services.coordinator.election.election import ElectionSettings
from services.coordinator.election.events import SwitchoverDone
from services.pusher.admission.settings import AdmissionSettings
from services.pusher.fanout.settings import ReplicationSettings
from services.pusher.imports.places import OPEN_PLACES
from services.pusher.imports.settings import RolloutSettings
from services.treenode.node.settings import CutoverSettings, NodeSettings, RoleSettings, SearchSettings
from tests.simulator.checkers import History, Reign, Violation
from tests.simulator.clients import Client
from tests.simulator.company import Company
from tests.simulator.coordinator_process import CoordinatorProcess
from tests.simulator.disk import Service
from tests.simulator.network import Network
from tests.simulator.node_process import NodeProcess
from tests.simulator.node_state import NodeTimes
from tests.simulator.operator import Operator
from tests.simulator.pusher_process import PusherLimits, PusherProcess
from tests.simulator.stored.store import ObjectStore
from tests.simulator.vip import Vip
from tests.simulator.world import Clock, World

#: Clocks run up to this much too fast or too slow. With both at their worst, a lease less its margin at the node still
#: ends before the coordinator's lease does: (1 - MARGIN_SHARE) / (1 - DRIFT_MAX) < 1 / (1 + DRIFT_MAX).
DRIFT_MAX = 0.04
#: The margin of a lease, as a share of it: the default settings' own.
MARGIN_SHARE = 0.1
ACK_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Plan:
    """What a cluster is like: drawn once a seed, so that all sizes and speeds are met."""

    nodes: int
    clients: int
    lease_s: float
    batch_updates_max: int
    window_updates: int
    retry_s: float
    keeps_updates: int
    #: Of one stream, and of all.
    push_updates_max: tuple[int, int]
    group_updates_max: int
    #: What a node may lack that is near the log's end.
    caught_up_lag_updates: int
    has_store: bool

    @staticmethod
    def draw(random: Random, own: Random) -> Plan:
        """Mostly two or three nodes with the default lease; sometimes slower, larger, or with tiny windows.

        `own`: for what came later, so that the rest of a seed's story does not hang on it.
        """
        return Plan(
            caught_up_lag_updates=own.choice((0, 0, 2, 10)),
            has_store=own.random() < 0.5,
            nodes=random.choice((2, 2, 3, 3, 3, 4)),
            clients=random.choice((1, 2, 3)),
            lease_s=random.choice((1.0, 1.0, 2.0, 4.0)),
            batch_updates_max=random.choice((2, 5, 2000)),
            window_updates=random.choice((5, 20, 20_000)),
            retry_s=random.choice((1.0, 3.0)),
            keeps_updates=random.choice((20, 200, 100_000)),
            push_updates_max=random.choice(((3, 4), (3, 20), (20, 20), (20, 50_000), (10_000, 50_000))),
            group_updates_max=random.choice((1, 5, 5_000)),
        )


@dataclass
class Parts:
    """Which classes the cluster is made of; a planted bug exchanges one."""

    node: type[NodeProcess] = NodeProcess
    pusher: type[PusherProcess] = PusherProcess
    coordinator: type[CoordinatorProcess] = CoordinatorProcess
    #: Added to the coordinator's settings, the nodes' and so on.
    lease_margin_share: float = MARGIN_SHARE


class Cluster:
    """All processes, and the history that they are checked against."""

    def __init__(self, seed: int, parts: Parts | None = None, *, tracing: bool = False) -> None:
        parts = parts or Parts()
        self.world = world = World(seed, tracing=tracing)
        self.plan = plan = Plan.draw(world.random, Random(f"plan {seed}"))
        self.network = network = Network(world)
        self.history = History()
        self.reign = Reign()
        names = [f"node-{number}" for number in range(1, plan.nodes + 1)]
        role = RoleSettings(lease_margin_s=parts.lease_margin_share * plan.lease_s)
        cutover = CutoverSettings(
            pause_lag_updates=4,
            pause_s_max=3.0,
            import_position_wait_s_max=10.0,
            search=SearchSettings(search_backoff_max_s=2.0),
        )
        node_settings = NodeSettings(
            role=role, catch_up_grace_s=3.0, caught_up_lag_updates=plan.caught_up_lag_updates, cutover=cutover
        )
        times = NodeTimes(heartbeat_s=plan.lease_s / 4)
        self.nodes = [parts.node(world, network, name, self._clock(), node_settings, times) for name in names]
        self.coordinator = parts.coordinator(
            world,
            network,
            self._clock(),
            ElectionSettings(lease_s=plan.lease_s, probe_interval_s=0.02),
            names,
            self.reign,
        )
        replication = ReplicationSettings(
            batch_updates_max=plan.batch_updates_max, window_updates=plan.window_updates, stall_timeout_s=5.0
        )
        rollout = RolloutSettings(
            canary_patience_s=3.0, load_stall_s=10.0, load_backoff_initial_s=0.5, load_backoff_max_s=plan.retry_s
        )
        admission = AdmissionSettings(
            push_stream_updates_max=plan.push_updates_max[0],
            push_updates_max=plan.push_updates_max[1],
            ack_timeout_s=ACK_TIMEOUT_S,
        )
        pusher_settings = PusherLimits(admission, replication, rollout, plan.group_updates_max, plan.keeps_updates)
        self.pusher = parts.pusher(world, network, self._clock(), pusher_settings)
        self.vip = Vip(world, network, self.nodes)
        #: Highest position that some client has a receipt for.
        self.acknowledged = 0
        self.clients = [
            Client(world, network, number, self.pusher, self.history, self._acknowledge)
            for number in range(1, plan.clients + 1)
        ]
        self.company = Company(self)
        self.operator = Operator(self)
        #: Those with a disk, whom faults befall.
        self.services: list[Service] = [self.coordinator, self.pusher, *self.nodes]
        self.processes = {service.name: service for service in self.services}
        self.store = ObjectStore(self) if plan.has_store else None
        for node in self.nodes:
            node.join(self, self.history, self.reign)
        self.pusher.join(self, self.history)
        self.coordinator.check_switchover = self.check_switchover

    def start(self) -> None:
        for process in (self.coordinator, self.pusher, *self.nodes, *self.clients, self.company):
            process.start()

    def replace_log(self) -> None:
        """The pusher, which is down, lost its disk: it begins another log, and so does what is checked."""
        self.pusher.begin_log("log-2")
        self.history.begin()
        self.history.contested = True
        self.history.had_trees = frozenset(
            node.name for node in self.nodes if node.alive and (node.served.import_id, node.served.position) != (0, 0)
        )
        self.acknowledged = 0
        self.company.forget()
        for client in self.clients:
            client.forget()

    def adopt_log(self) -> None:
        """The operator says that the log which the pusher has now is the one."""
        self.history.contested = False
        self.pusher.adopt()

    def restore_log(self, last: int, *, marked: bool) -> None:
        """The pusher, which is down, has its log from an older backup now, up to `last`. `marked`: its mark as well."""
        self.pusher.marked = marked
        self.pusher.tell(f"comes back with a backup that ends at {last}")
        self.pusher.store.restore(last)
        self.history.forget_after(last)
        self.acknowledged = min(self.acknowledged, last)
        self.company.forget()
        for client in self.clients:
            client.forget(last)

    def process(self, name: str) -> Service:
        """The process of that name."""
        return self.processes[name]

    def _clock(self) -> Clock:
        random = self.world.random
        return Clock(self.world, 1000.0 * random.random(), 1.0 + random.uniform(-DRIFT_MAX, DRIFT_MAX))

    def _acknowledge(self, position: int) -> None:
        self.acknowledged = max(self.acknowledged, position)

    def check_switchover(self, done: SwitchoverDone) -> None:
        """A planned switchover does not step back: the new primary is where the old one stood when it stepped down.

        Where the old one failed first, or was cut off before it could say so, its last heartbeat is all that anybody
        can go by. Where the new one has started again since its own last heartbeat, the coordinator could not know: it
        gave the role to a process that is gone.
        """
        old, new = (next(node for node in self.nodes if node.name == name) for name in (done.from_node, done.to_node))
        at, floor, told = old.stepped_down
        lease, given = (self.coordinator.core.leases.get(node.name) for node in (old, new))
        confirmed = told and lease is not None and lease.last.primary_epoch == 0
        same = given is not None and given.last.incarnation == new.incarnation
        if old is not new and new.alive and same and confirmed and self.world.now - at < done.took_s + 0.01:
            standing = (new.tree.import_id, new.tree.position)
            if standing < floor:
                raise Violation(f"switchover: {new.name} is primary at {standing}, {old.name} stood at {floor}")

    # ---- eventual progress

    def unsettled(self) -> str:
        """What still keeps the cluster from being whole, in one line; empty when nothing does."""
        pusher = self.pusher
        log_end, in_force = len(pusher.log), pusher.rollout.in_force
        for node in self.nodes:
            tree = node.tree
            if not node.core.life.ready:
                return f"{node.name} is {node.core.state.name}"
            if (tree.position, tree.import_id) != (log_end, in_force):
                return (
                    f"{node.name} is at import {tree.import_id}, position {tree.position}; "
                    f"the log ends at import {in_force}, position {log_end}"
                )
            if not pusher.replication.nodes[node.name].in_step:
                return f"{node.name} is not in step: {pusher.replication.nodes[node.name]}"
        open_imports = [each for each in pusher.rollout.places if each.place in OPEN_PLACES]
        if open_imports:
            return f"imports are not settled: {open_imports}"
        if self.company.pending:
            return "an upload has no answer"
        for client in self.clients:
            if client.waiting:
                return f"{client.name} has no receipts for {len(client.waiting)} batches"
        reigning = [node.name for node in self.nodes if node.reigns()]
        if len(reigning) != 1 or self.coordinator.core.seat.primary != reigning[0]:
            return f"primary: the coordinator says {self.coordinator.core.seat.primary or 'none'}, nodes {reigning}"
        return ""

    def check_whole(self) -> None:
        """Once all is settled: everything acknowledged is there, and every tree is what file and log make of it."""
        self.history.check_log(self.pusher.log)
        self.history.check_imports(self.pusher.imports)
        log_end, in_force = len(self.pusher.log), self.pusher.rollout.in_force
        replayed = self.history.replay(in_force, log_end)
        self.history.check_orders(replayed)
        expected = replayed.digest
        for node in self.nodes:
            self.history.stands("the replay of the log", in_force, log_end, expected)
            self.history.stands(node.name, node.tree.import_id, node.tree.position, node.tree.digest)
