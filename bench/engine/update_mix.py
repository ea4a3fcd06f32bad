"""Updates of all kinds, drawn from a seed, on a genealogy that grows with them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from fasttree.v1 import types_pb2

STATUSES = ("A", "B", "C", "T")


def update_mix(seed: int, member_ids: Sequence[str], count: int, prefix: str = "u") -> Iterator[types_pb2.Update]:
    """Draws updates: mostly orders, and each other kind; some overtake what they need, and some can't be taken.

    Args:
        seed: The same seed gives the same updates.
        member_ids: Members of the tree that they are for; a few are removed and moved on the way.
        count: How many.
        prefix: Of update ids and of new members' ids, so that two mixes can go to one cluster.
    """
    draw = random.Random(seed)
    known = list(member_ids)
    enrolled = 0
    for number in range(count):
        update = types_pb2.Update(update_id=f"{prefix}-{seed}-{number}")
        kind = draw.random()
        member_id = draw.choice(known)
        if kind < 0.80:
            update.volume_posted.member_id = member_id
            update.volume_posted.amount_hundredths = draw.randrange(-5_000, 50_000)
        elif kind < 0.90:
            enrolled += 1
            # One in ten names a sponsor who enrols only later: it is held until then.
            ahead = draw.random() < 0.1
            update.member_enrolled.member_id = f"{prefix}{seed}n{enrolled}"
            update.member_enrolled.sponsor_id = f"{prefix}{seed}n{enrolled + 1}" if ahead else member_id
            update.member_enrolled.status = draw.choice(STATUSES)
            update.member_enrolled.rank = draw.randrange(10)
            update.member_enrolled.joined_on = f"2026-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}"
            known.append(update.member_enrolled.member_id)
        elif kind < 0.94:
            update.member_changed.member_id = member_id
            update.member_changed.status = draw.choice(STATUSES)
            update.member_changed.rank = draw.randrange(10)
        elif kind < 0.97:
            above = draw.choice(known)
            if above == member_id or draw.random() < 0.1:
                # Enrolled again, who is there already: rejected by every node alike.
                update.member_enrolled.member_id = member_id
            else:
                # Now and then below its own downline: rejected too.
                update.member_moved.member_id = member_id
                update.member_moved.new_parent_id = above
                update.member_moved.tree = types_pb2.TREE_SPONSOR
        elif kind < 0.98:
            update.member_removed.member_id = member_id
            update.member_removed.mode = draw.choice(
                [types_pb2.REMOVAL_MODE_COMPRESS, types_pb2.REMOVAL_MODE_LEAVE_EMPTY]
            )
        else:
            update.volume_posted.member_id = f"{prefix}{seed}n{enrolled + 1 + draw.randrange(3)}"
            update.volume_posted.amount_hundredths = draw.randrange(1, 50_000)
        yield update
