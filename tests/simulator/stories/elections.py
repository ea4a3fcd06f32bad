"""Elections at bad moments: the power fails in one, a primary that hears nothing is to give its role away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulator.cluster import Cluster
    from tests.simulator.node_process import NodeProcess

#: What a cluster has for an election, in leases, and in seconds for what is on its way.
ELECTED_LEASES, ELECTED_S, LOOK_S = 6.0, 8.0, 0.5
TIMES = 3


def _primary(cluster: Cluster) -> NodeProcess | None:
    return next((node for node in cluster.nodes if node.reigns()), None)


def power_fails(cluster: Cluster, light_load: Callable[[], None]) -> None:
    """The primary dies, and all machines do while its successor is being written down: who was told of an election that
    no disk has would be told of another one under its number. What is on the disk by then is chance, so it happens
    more than once."""
    for _ in range(TIMES):
        light_load()
        _fail_in_election(cluster)
        limit = cluster.world.now + ELECTED_S + ELECTED_LEASES * cluster.plan.lease_s
        while cluster.world.now < limit and _primary(cluster) is None:
            cluster.world.run(cluster.world.now + LOOK_S)


def _fail_in_election(cluster: Cluster) -> None:
    world, random, disk = cluster.world, cluster.world.random, cluster.coordinator.disk
    victims = [cluster.coordinator, *cluster.nodes]

    def fail() -> None:
        world.tell("story", "the power fails")
        for victim in victims:
            victim.crash()

    before = disk.stall_chance, disk.stall_s
    disk.stall_chance, disk.stall_s = 1.0, 2.0 * cluster.plan.lease_s
    disk.ambush = lambda length_s: world.after(length_s * random.uniform(0.3, 1.0), fail)
    primary = _primary(cluster)
    if primary is not None:
        primary.crash()
    limit = world.now + ELECTED_S + ELECTED_LEASES * cluster.plan.lease_s
    while world.now < limit and cluster.coordinator.alive:
        world.run(world.now + LOOK_S)
    disk.stall_chance, disk.stall_s = before
    disk.ambush = None
    for victim in victims:
        if not victim.alive:
            victim.start()


def switch_over_unheard(cluster: Cluster, light_load: Callable[[], None]) -> None:
    """The primary is to give its role away, and hears nothing of it: until its lease is over it believes itself
    primary."""
    world, network, coordinator = cluster.world, cluster.network, cluster.coordinator
    primary = _primary(cluster)
    if primary is None:
        return
    link = (coordinator.name, primary.name)
    light_load()
    network.cut(*link)
    cluster.company.operate("switchover")
    world.run(world.now + ELECTED_S + ELECTED_LEASES * cluster.plan.lease_s)
    network.heal(*link)
