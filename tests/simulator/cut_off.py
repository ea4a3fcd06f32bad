"""Nodes that hear no pusher: what they may serve, and what they have to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulator.checkers import Violation

if TYPE_CHECKING:
    from tests.simulator.cluster import Cluster
    from tests.simulator.node_process import NodeProcess

#: What everybody needs to hear of everybody: a dead stream is given up after two leases, and a node that is refused its
#: name comes back within one more; and so long in seconds, for what is on its way.
HEARD_LEASES = 3.0
HEARD_S = 3.0


def has_more(one: NodeProcess, other: NodeProcess) -> bool:
    """Whether the first has anything of the same log that the second lacks."""
    if one.core.sequence.log_id != other.core.sequence.log_id:
        return False
    return one.tree.import_id > other.tree.import_id or one.tree.position > other.tree.position


def _older(node: NodeProcess, other: NodeProcess) -> str:
    stands, more = ((each.tree.import_id, each.tree.position) for each in (node, other))
    return f"older: {node.name} serves (import, position) {stands} without a pusher, beside {other.name} with {more}"


def _restart_in_order(cluster: Cluster) -> None:
    """The coordinator ends its streams, so all nodes come back soon, some sooner than others."""
    coordinator = cluster.coordinator
    for end in cluster.network.ends_of(coordinator):
        end.close()
    coordinator.crash()
    coordinator.start()


def come_back_behind(cluster: Cluster, light_load: Callable[[], None]) -> None:
    """A node comes back from a snapshot that others are past, and the pusher can't reach it.

    It serves nothing while they do, whatever becomes of the coordinator; and what it has, once they are gone.
    """
    world, random, network, pusher = cluster.world, cluster.world.random, cluster.network, cluster.pusher
    lease_s = cluster.plan.lease_s
    node = random.choice(cluster.nodes)
    others = [other for other in cluster.nodes if other is not node]
    node.save()
    world.run(world.now + 1.0)
    node.crash()
    light_load()
    if random.random() < 0.7:
        cluster.company.export(sound=True)
    world.run(world.now + 8.0 + HEARD_LEASES * lease_s)
    for source, target in ((pusher.name, node.name), (node.name, pusher.name)):
        network.cut(source, target)
    restart = random.choice(("", "before", "during"))
    if restart == "before":
        cluster.coordinator.crash()
        cluster.coordinator.start()
    node.start()
    for step in range(20):
        world.run(world.now + 0.5)
        if restart == "during" and step == 10:
            _restart_in_order(cluster)
        ahead = [other for other in others if other.core.life.ready and has_more(other, node)]
        if node.core.life.ready and ahead:
            raise Violation(_older(node, ahead[0]))
    for other in others:
        other.crash()
    world.run(world.now + HEARD_S + HEARD_LEASES * lease_s)
    has_tree = not node.tree.is_bare
    if has_tree and not node.core.life.ready:
        raise Violation(f"cut off: {node.name} serves nothing, and no other node is up")
    for other in others:
        other.start()
    for source, target in ((pusher.name, node.name), (node.name, pusher.name)):
        network.heal(source, target)


def come_back_bare(cluster: Cluster, light_load: Callable[[], None]) -> None:
    """A node comes back from a snapshot of before the first import, which the others have, and the pusher can't reach
    it. It answers nothing, whether the others are there or gone: each member would be nobody."""
    world, network, pusher = cluster.world, cluster.network, cluster.pusher
    node = cluster.nodes[-1]
    node.save()
    world.run(world.now + 1.0)
    node.crash()
    cluster.company.export(sound=True)
    world.run(world.now + 20.0)
    others = [other for other in cluster.nodes if other is not node and other.tree.import_id]
    for source, target in ((pusher.name, node.name), (node.name, pusher.name)):
        network.cut(source, target)
    node.start()
    light_load()
    world.run(world.now + HEARD_S)
    for other in others:
        other.crash()
    light_load()
    world.run(world.now + 2.0 * (HEARD_S + HEARD_LEASES * cluster.plan.lease_s))
    for other in others:
        other.start()
    for source, target in ((pusher.name, node.name), (node.name, pusher.name)):
        network.heal(source, target)
