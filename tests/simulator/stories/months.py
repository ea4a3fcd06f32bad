"""A month that is closed while some nodes have no room to keep it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulator.cluster import Cluster

#: So long it takes until the change has come to all, and they have tried to write what it closes.
CLOSED_S = 6.0


def close_month_without_room(cluster: Cluster, light_load: Callable[[], None]) -> None:
    """What they could not write they have to come by later on, once there is room: one other node at least has it."""
    world, random = cluster.world, cluster.world.random
    light_load()
    world.run(world.now + 1.0)
    full = random.sample(cluster.nodes, random.randint(1, len(cluster.nodes) - 1))
    for node in full:
        node.disk.full = True
    cluster.operator.turn_month()
    world.run(world.now + CLOSED_S)
    for node in full:
        node.disk.full = False
