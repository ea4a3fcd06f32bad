"""One seed, from an empty cluster through storms and calms to the last check."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass

from services.treenode.periods.keeping import RETRY_MAX_S
from tests.simulator.checkers import Violation
from tests.simulator.cluster import Cluster, Parts
from tests.simulator.cut_off import come_back_bare, come_back_behind, has_more
from tests.simulator.faults import Storm
from tests.simulator.node_halts import has_halted
from tests.simulator.node_periods import kept_months, unequal_months
from tests.simulator.result import Result, result_of
from tests.simulator.stories.behind_damage import come_back_behind_damage
from tests.simulator.stories.elections import power_fails, switch_over_unheard
from tests.simulator.stories.loads import ask_again_and_again
from tests.simulator.stories.months import close_month_without_room

#: When faults stop, the cluster has this long to be whole again, in seconds.
SETTLE_S = 60.0
SETTLE_STEP_S = 0.5
#: Within so long all nodes keep the same closed months: what was looked for in vain is tried again ever more rarely.
MONTHS_SETTLE_S, MONTHS_STEP_S = 2.5 * RETRY_MAX_S, 5.0
LATE_MAX_S = 8.0
#: One seed of so many begins with a node that missed the first import; the nodes have heard of each other by then.
BARE_EVERY, SETTLED_S = 8, 5.0
#: What a seed may end with, one as likely as another.
STORIES = (
    come_back_behind_damage,
    power_fails,
    switch_over_unheard,
    ask_again_and_again,
    close_month_without_room,
)


@dataclass(frozen=True)
class Weather:
    """How long a seed's life is."""

    storms: tuple[int, int] = (1, 2)
    storm_s: tuple[float, float] = (5.0, 20.0)
    #: Quiet times between storms: heartbeats, a few updates and reads.
    quiet_s: tuple[float, float] = (60.0, 1800.0)


class Run:
    """Drives one cluster by its seed."""

    def __init__(self, seed: int, parts: Parts | None, weather: Weather, *, tracing: bool) -> None:
        self._seed = seed
        self.cluster = Cluster(seed, parts, tracing=tracing)
        self._world = self.cluster.world
        self._random = self._world.random
        self._weather = weather
        self._storm = Storm(self.cluster)
        #: What an operator decided to skip, and a backup that was put in place is too old to have.
        self._lost_skips: set[int] = set()

    def go(self) -> Result:
        """Runs to the end, or to the first violation."""
        violation = ""
        try:
            self._live()
        except Violation as broken:
            violation = f"{broken}\n{self._story()}"
        except Exception:  # a core's own rule, or a defect of the simulator: both have to be looked at
            violation = f"{traceback.format_exc(limit=-6)}\n{self._story()}"
        return result_of(self.cluster, violation)

    def _story(self) -> str:
        return "\n".join([f"at {self._world.now:.4f}; plan {self.cluster.plan}", *list(self._world.story)[-120:]])

    def _live(self) -> None:
        self.cluster.start()
        if self._seed % BARE_EVERY == 0:
            self._world.run(self._world.now + SETTLED_S)
            self._miss_the_first_import()
        self._calm()
        for _ in range(self._random.randint(*self._weather.storms)):
            if self._random.random() < 0.3:
                self._storm.damage_log()
            self._rage()
            self._calm()
            if self.cluster.store is not None and self.cluster.store.random.random() < 0.6:
                self.cluster.store.lose_all(self._light_load)
                self._calm()
            if self._random.random() < 0.4:
                # A tree that breaks behind a damaged record has no way back but an import.
                midway = self._random.random() < 0.5 and not self.cluster.pusher.store.damaged
                self._poison(midway=midway)
            self._quiet()
        end = self._random.random()
        if end < 0.15:
            self._lose_log()
        elif end < 0.25:
            self._restore_log()
        elif end < 0.5 and not self.cluster.pusher.store.damaged:
            come_back_behind(self.cluster, self._light_load)
            self._calm()
        elif end >= 0.5:
            self._tell_story(int((end - 0.5) * 2.0 * len(STORIES)))
        self._check_months()

    def _miss_the_first_import(self) -> None:
        store = self.cluster.store
        if store is not None and store.random.random() < 0.5:
            store.lose_all_bare(self._light_load)
        else:
            come_back_bare(self.cluster, self._light_load)

    def _tell_story(self, number: int) -> None:
        story = STORIES[number]
        if not self.cluster.pusher.store.damaged:
            self._world.tell("story", story.__name__)
            story(self.cluster, self._light_load)
            self._calm()

    def _lose_log(self) -> None:
        """The pusher comes back with an empty log of its own: the nodes serve on, and nothing is taken.

        Then an operator adopts it: every node goes over, and shows its old tree until it has an import of the new log.

        One node may hear of it later than the others, one of which then has to start from nothing: what the first has
        on its disk is of no use to it.
        """
        cluster, world, network = self.cluster, self._world, self.cluster.network
        late, empty = self._random.sample(cluster.nodes, 2)
        is_late = self._random.random() < 0.7
        cluster.pusher.crash()
        world.run(world.now + LATE_MAX_S)
        had_trees = [node for node in cluster.nodes if (node.tree.import_id, node.tree.position) != (0, 0)]
        cluster.replace_log()
        cluster.history.contested = bool(had_trees)
        if is_late:
            network.cut(cluster.pusher.name, late.name)
            network.cut(late.name, cluster.pusher.name)
        cluster.pusher.start()
        if had_trees:
            self._stand_still()
            cluster.adopt_log()
        self._light_load()
        world.run(world.now + 3.0)
        self._export()
        world.run(world.now + 5.0)
        if is_late:
            empty.crash()
            empty.disk.wipe()
            cluster.history.had_trees -= {empty.name}
            empty.start()
            world.run(world.now + 5.0)
            network.heal(cluster.pusher.name, late.name)
            network.heal(late.name, cluster.pusher.name)
        self._calm()
        self._check_gone_over()

    def _stand_still(self) -> None:
        """Nodes have another past than the log: they serve what they have, one started anew, and nothing moves."""
        cluster, world = self.cluster, self._world
        stood = {node.name: (node.tree, node.tree.position) for node in cluster.nodes}
        self._light_load()
        world.run(world.now + 3.0)
        again = self._random.choice([*cluster.nodes, None])
        if again is not None:
            again.save()
            world.run(world.now + 1.0)
            again.crash()
            again.start()
            world.run(world.now + 1.0)
            stood[again.name] = (again.tree, again.tree.position)
        self._light_load()
        world.run(world.now + LATE_MAX_S)
        for node in cluster.nodes:
            serves = node.core.life.ready or node.tree.is_bare or any(has_more(other, node) for other in cluster.nodes)
            if (node.tree, node.tree.position) != stood[node.name] or not serves:
                raise Violation(f"other past: {node.name} moved for a log that nobody adopted, or serves no more")
        if not cluster.pusher.lineage.door.closed:
            raise Violation("other past: the pusher takes pushes into a log that no node shares")

    def _check_gone_over(self) -> None:
        """Once there is an import of the new log, nobody shows an old tree, nor would after a start."""
        cluster = self.cluster
        if not cluster.pusher.rollout.in_force:
            return
        self._world.run(self._world.now + 2.0)
        for node in cluster.nodes:
            saved = node.disk.read("snapshot")
            if node.old is not None or (saved is not None and saved.log_id != cluster.pusher.log_id):
                raise Violation(f"old tree: {node.name} keeps it, and has an import of the new log")

    def _restore_log(self) -> None:
        """The pusher comes back with an older backup. Where its mark is there as well, it takes other updates before
        the nodes hear of it, else it waits for them.

        No node may take any of those on top of what it has: each stays as it is until an operator adopts that log.
        """
        cluster, world, network = self.cluster, self._world, self.cluster.network
        pusher, in_force = cluster.pusher, cluster.pusher.rollout.in_force
        stored = pusher.imports.get(in_force)
        least = max([pusher.store.first, pusher.store.damaged, stored.as_of_position if stored else 0])
        if len(pusher.log) <= least or pusher.store.damaged:
            return
        pusher.crash()
        world.run(world.now + LATE_MAX_S)
        ended_at = len(pusher.log)
        marked = self._random.random() < 0.5
        decided = pusher.skipped
        cluster.restore_log(self._random.randrange(max(least, ended_at - 10), ended_at), marked=marked)
        self._lost_skips |= set(decided) - set(pusher.skipped)
        last = len(pusher.log)
        links = [(pusher.name, node.name) for node in cluster.nodes]
        for link in [*links, *((node, name) for name, node in links)]:
            network.cut(*link)
        pusher.start()
        self._light_load()
        world.run(world.now + 3.0)
        while pusher.marked and len(pusher.log) <= ended_at:
            self._light_load()
            world.run(world.now + 3.0)
        if not marked and len(pusher.log) > last:
            raise Violation("other past: a log that nothing vouches for grew before any node had spoken")
        for link in sorted(network.cuts):
            network.heal(*link)
        world.run(world.now + LATE_MAX_S)
        cluster.history.contested = True
        self._light_load()
        world.run(world.now + LATE_MAX_S)
        moved = [node.name for node in cluster.nodes if node.tree.position != ended_at or not node.core.life.ready]
        if moved:
            raise Violation(f"other past: {moved} took updates of a log that has lost some, or serve no more")
        cluster.history.had_trees = frozenset(node.name for node in cluster.nodes)
        cluster.adopt_log()
        self._light_load()
        self._calm()
        self._check_gone_over()

    def _check_months(self) -> None:
        """In time all nodes keep the same of each closed month, and what they keep is what file and log make of it."""
        cluster, world = self.cluster, self._world
        limit = world.now + MONTHS_SETTLE_S
        while reason := unequal_months(cluster.nodes):
            if world.now >= limit:
                raise Violation(f"months: {MONTHS_SETTLE_S:g} s after the last fault, {reason}")
            world.run(world.now + MONTHS_STEP_S)
        for node, state, digest in kept_months(cluster.nodes):
            if state.log_id != (node.periods.served_log_id or state.log_id):
                raise Violation(f"months: {node.name} keeps {state}, of a log that it does not serve")
            if state.log_id != cluster.pusher.log_id:
                continue  # the tree of the log before is served yet
            replayed = cluster.history.replay(state.import_id, state.position)
            if replayed.digest != digest:
                raise Violation(f"months: {state} is not what file and log make of it")

    def _rage(self) -> None:
        world, random = self._world, self._random
        ends_at = world.now + random.uniform(*self._weather.storm_s)
        self._load(ends_at, push_s=random.choice((0.2, 0.8)), read_s=0.5)
        for _ in range(random.choice((0, 1, 1, 2, 3))):
            world.at(random.uniform(world.now, ends_at), self._export)
        for _ in range(random.choice((0, 1, 1, 3))):
            world.at(random.uniform(world.now, ends_at), self._operate)
        if random.random() < 0.4:
            world.at(random.uniform(world.now, ends_at), self.cluster.company.roll_back)
        self._storm.begin()
        world.run(ends_at)
        self._storm.heal()
        # What was late in the storm comes late still: the slowest messages take this long.
        world.run(world.now + LATE_MAX_S + self.cluster.plan.lease_s)
        self.cluster.network.validate(LATE_MAX_S)
        self.cluster.company.operate("resume")

    def _load(self, ends_at: float, push_s: float, read_s: float) -> None:
        for client in self.cluster.clients:
            self._push(client.push, ends_at, push_s)
        self._push(self.cluster.operator.act, ends_at, 4.0 * push_s)
        self._read(ends_at, read_s)

    def _push(self, push: Callable[[], None], ends_at: float, push_s: float) -> None:
        if self._world.now < ends_at:
            push()
            self._world.after(self._random.expovariate(1.0 / push_s), self._push, push, ends_at, push_s)

    def _read(self, ends_at: float, read_s: float) -> None:
        if self._world.now < ends_at:
            self.cluster.vip.read(self.cluster.acknowledged if self._random.random() < 0.2 else 0)
            self._world.after(self._random.expovariate(1.0 / read_s), self._read, ends_at, read_s)

    def _export(self) -> None:
        self.cluster.company.export(sound=self._random.random() < 0.75)

    def _operate(self) -> None:
        wish = self._random.choice(("switchover", "switchover", "switchover", "pause", "resume"))
        node = self._random.choice(["", *(node.name for node in self.cluster.nodes)])
        self.cluster.company.operate(wish, node if wish == "switchover" else "")

    def _calm(self) -> None:
        """No faults: within a bounded time everything is whole, and then everything is checked."""
        limit = self._world.now + SETTLE_S
        reason = "not looked at"
        while reason:
            if self._world.now >= limit:
                raise Violation(f"progress: {SETTLE_S:g} s after the last fault, {reason}")
            self._world.run(self._world.now + SETTLE_STEP_S)
            if self.cluster.coordinator.core.recorded.paused:
                self.cluster.company.operate("resume")
            self._skip_again()
            reason = self.cluster.unsettled()
        self.cluster.check_whole()

    def _skip_again(self) -> None:
        """The operator's decisions that a backup was too old to have are taken anew, once the nodes halt for them."""
        pusher = self.cluster.pusher
        for halt in [node.core.sequence.halt for node in self.cluster.nodes]:
            if halt is not None and halt.before in self._lost_skips and halt.before not in pusher.skipped:
                pusher.skip(halt.before)

    def _poison(self, *, midway: bool) -> None:
        """An update that every engine fails at: each node halts before it and serves on, also one that comes back
        meanwhile, until the operator skips it."""
        cluster, world = self.cluster, self._world
        elections = cluster.reign.elections
        if midway and self._random.random() < 0.5:
            # One has nothing on its disk that it could go back to.
            disk = self._random.choice(cluster.nodes).disk
            disk.forget("snapshot")
            disk.forget("snapshot-previous")
        update_id = self._random.choice(cluster.clients).poison(midway=midway)
        self._wait_halted(update_id)
        if elections != cluster.reign.elections and not midway:
            raise Violation("halt: the primary changed for an update that the engine fails at")
        if self._random.random() < 0.5:
            back = self._random.choice(cluster.nodes)
            back.crash()
            back.start()
            self._wait_halted(update_id)
        self._light_load()
        world.run(world.now + 3.0)
        while not cluster.pusher.skipped_already(update_id):
            cluster.pusher.skip(cluster.pusher.store.ids[update_id])
            world.run(world.now + 1.0)
        self._calm()

    def _wait_halted(self, update_id: str) -> None:
        limit = self._world.now + SETTLE_S
        waiting: list[str] = [update_id]
        while waiting:
            if self._world.now >= limit:
                raise Violation(f"halt: {waiting} did not halt before {update_id}, ready, within {SETTLE_S:g} s")
            self._world.run(self._world.now + SETTLE_STEP_S)
            before = self.cluster.pusher.store.ids.get(update_id, 0)
            waiting = [node.name for node in self.cluster.nodes if not has_halted(node, before)]

    def _quiet(self) -> None:
        """A few things happen, none of them bad: the cluster has to stay whole throughout."""
        world, random, company = self._world, self._random, self.cluster.company
        began, ends_at = world.now, world.now + random.uniform(*self._weather.quiet_s)
        elections = self.cluster.reign.elections
        switchovers = self.cluster.coordinator.switchovers
        plan: list[tuple[float, Callable[[], object]]] = [
            (random.uniform(began, ends_at), self._light_load) for _ in range(random.randint(0, 3))
        ]
        if random.random() < 0.5:
            plan.append((random.uniform(began, ends_at), self._export))
        if random.random() < 0.3:
            plan.append((random.uniform(began, ends_at), lambda: company.operate("switchover")))
        for instant, call in sorted(plan, key=lambda planned: planned[0]):
            self._pass_quietly(instant)
            call()
        self._pass_quietly(ends_at)
        asked = self.cluster.coordinator.switchovers - switchovers
        if self.cluster.reign.elections - elections > asked:
            raise Violation("elections: the primary changed although nothing was wrong and nobody asked")
        self._calm()

    def _light_load(self) -> None:
        self._load(self._world.now + 2.0, push_s=0.2, read_s=0.2)

    def _pass_quietly(self, until: float) -> None:
        """Steps until nothing but heartbeats has happened for a while, and skips the rest."""
        world = self._world
        watch_s = 3.0 * self.cluster.plan.lease_s
        while world.now + watch_s < until:
            told = world.told
            world.run(world.now + watch_s)
            if world.told == told and not self.cluster.unsettled() and not self.cluster.vip.under_way:
                world.skip(max(0.0, until - world.now))
        world.run(max(until, world.now))


def run_seed(
    seed: int, parts: Parts | None = None, weather: Weather | None = None, *, tracing: bool = False
) -> tuple[Result, list[str]]:
    """Runs a seed; returns its result and the story."""
    run = Run(seed, parts, weather or Weather(), tracing=tracing)
    return run.go(), list(run.cluster.world.story)
