"""Whose turn it is to store a snapshot: one node's at a time, without a word between them.

The rules:

1. The nodes that are ready have an order: passive ones by name, the primary last, which has other things to do. The
   first one stores its snapshot when the newest stored is as old as the interval.
2. Where that doesn't happen (its disk is full, its keys are wrong), the second one does after two intervals, and so on.
   Where nothing is stored at all, that is counted from when the node first saw so; the first one need not wait.
3. What would be stored has to be further on than what is. Another import counts at once: the log from before it may not
   be needed, and so not kept, for long.
4. Clocks of machines differ, and so does what they say of age: an age that can't be is as good as a great one, so that
   nothing is held up for long. Two nodes that both think it is their turn do no harm (`objects.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from fasttree.v1 import coordinator_pb2

_READY = (coordinator_pb2.NODE_STATE_PASSIVE, coordinator_pb2.NODE_STATE_PRIMARY)


def rank_of(name: str, nodes: Sequence[coordinator_pb2.ClusterNode]) -> int | None:
    """The node's place in the order (rule 1); None where it is not ready, or not known."""
    ready = [node for node in nodes if node.alive and node.status.state in _READY]
    ready.sort(key=lambda node: (node.status.state == coordinator_pb2.NODE_STATE_PRIMARY, node.address.name))
    names = [node.address.name for node in ready]
    return names.index(name) if name in names else None


def is_due(rank: int, own: tuple[int, int], newest: tuple[int, int] | None, age_s: float, interval_s: float) -> bool:
    """Whether the node of that rank stores its snapshot now (rules 1 to 4).

    Args:
        rank: As `rank_of`.
        own: (import, position) of its snapshot.
        newest: Of the newest one that is stored, and good as far as it is known; None where there is none.
        age_s: How old that one is; where there is none, for how long it is known that there is none.
        interval_s: How often a snapshot is to be stored.
    """
    if newest is None:
        return age_s >= rank * interval_s
    if own <= newest:
        return False
    if rank == 0 and own[0] != newest[0]:
        return True
    return not 0 <= age_s < (rank + 1) * interval_s
