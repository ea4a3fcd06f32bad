"""Loads that are given up and asked for again, while what was set off for the first is still under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulator.cluster import Cluster

BREAKS = 6
ASKED_S, LOOK_S = 5.0, 0.05


def ask_again_and_again(cluster: Cluster, light_load: Callable[[], None]) -> None:
    """The pusher dies again and again while a node takes an import: each life asks for it anew, and the answers to what
    the one before had asked come late."""
    world, random, pusher = cluster.world, cluster.world.random, cluster.pusher
    light_load()
    world.run(world.now + 1.0)
    for _ in range(BREAKS):
        if not cluster.company.pending and not _is_asked(cluster):
            cluster.company.export(sound=True, upload_s=0.1)
        light_load()
        limit = world.now + ASKED_S
        while world.now < limit and not _is_asked(cluster):
            world.run(world.now + LOOK_S)
        world.run(world.now + random.uniform(0.05, 0.8))
        pusher.crash()
        world.run(world.now + random.uniform(0.02, 0.1))
        pusher.start()


def _is_asked(cluster: Cluster) -> bool:
    return any(node.core.cutover.importing for node in cluster.nodes)
