"""A node that comes back with an older import, when the log can't be read any more for the one in force."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulator.node_state import Snapshot

if TYPE_CHECKING:
    from tests.simulator.cluster import Cluster
    from tests.simulator.node_process import NodeProcess

#: So long after its file was taken an import comes: meanwhile a node gets past the file's position, and goes.
UPLOAD_S = 6.0
TAKEN_S, LOOK_S = 40.0, 0.5


def come_back_behind_damage(cluster: Cluster, light_load: Callable[[], None]) -> None:
    """It is past the damaged record itself, so it takes records all the while; the import it can only have as a peer's
    snapshot, which is mostly of a position that it is past by then."""
    world, pusher = cluster.world, cluster.pusher
    node = world.random.choice(cluster.nodes)
    others = [other for other in cluster.nodes if other is not node]
    before = pusher.rollout.in_force
    light_load()
    world.run(world.now + 1.0)
    cluster.company.export(sound=True, upload_s=UPLOAD_S)
    light_load()
    world.run(world.now + 3.0)
    node.save()
    world.run(world.now + 0.5)
    node.crash()
    limit = world.now + TAKEN_S
    while world.now < limit and not _have_saved(others, before):
        world.run(world.now + LOOK_S)
    if _have_saved(others, before):
        _damage_log(cluster, node, others)
    light_load()
    world.run(world.now + 2.5)
    light_load()
    node.start()
    world.run(world.now + 3.0)


def _have_saved(nodes: list[NodeProcess], before: int) -> bool:
    """Whether all of them have a newer import than that on their disks."""
    saved: list[Snapshot | None] = [node.disk.read("snapshot") for node in nodes]
    return all(each is not None and each.sound and each.tree.import_id > before for each in saved)


def _damage_log(cluster: Cluster, node: NodeProcess, others: list[NodeProcess]) -> None:
    """A record that each node has on its disk, behind the position of the import in force."""
    pusher = cluster.pusher
    saved: list[Snapshot] = [each.disk.read("snapshot") for each in (node, *others)]
    newest = min(each.tree.position for each in saved)
    as_of = pusher.imports[pusher.rollout.in_force].as_of_position
    # What is still held has to be read again by each import to come.
    held = {position for each in (node, *others) for position in each.tree.held}
    choices = [each for each in range(max(as_of + 1, pusher.store.first), newest + 1) if each not in held]
    if choices:
        pusher.store.damaged = cluster.world.random.choice(choices)
        cluster.world.tell("story", f"damages the log's record {pusher.store.damaged}, while {node.name} is away")
