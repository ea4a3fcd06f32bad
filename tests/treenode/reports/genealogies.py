"""Random trees for report tests: an import of all kinds of members, then updates of all kinds."""

from __future__ import annotations

import random

import numpy as np

from fasttree.v1 import types_pb2
from services.shared.rules import Rules, rules_of
from services.treenode.tree import NO_DAY, NO_NUMBER, FurtherColumn, ImportTable, Tree

VOLUME_TYPES = ("PV", "CV")
PERIODS = ("2026-11", "2026-10")
STATUSES = ["A", "", "T", "a status of 16 c"]
REGIONS = ["", "north", "south", "östlich"]


def config() -> Rules:
    """Two volume types and two periods."""
    return rules_of(VOLUME_TYPES, PERIODS)


def random_table(dice: random.Random, count: int) -> ImportTable:
    """Rows in random order; several roots, placements for most, empty cells here and there."""
    ids = [f"{dice.choice('ABM')}{number}" for number in dice.sample(range(10 * count), count)]
    order = list(range(count))
    dice.shuffle(order)
    sponsor, placement, leg = [-1] * count, [-1] * count, [0] * count
    legs: dict[int, int] = {}
    for place, row in enumerate(order):
        if place < 2 or dice.random() < 0.02:
            continue
        sponsor[row] = order[int(place * dice.random() ** 0.6)]
        if dice.random() < 0.8:
            above = order[int(place * dice.random())]
            legs[above] = leg[row] = legs.get(above, 0) + 1
            placement[row] = above
    return ImportTable(
        member_ids=np.array(ids, "S16"),
        sponsor=np.array(sponsor, np.int32),
        placement=np.array(placement, np.int32),
        placement_leg=np.array(leg, np.int32),
        kind=np.array([dice.randrange(1, 3) for _ in ids], np.uint8),
        status=np.array([dice.randrange(len(STATUSES)) for _ in ids], np.int16),
        status_names=list(STATUSES),
        rank=np.array([dice.choice([0, 1, 5, 40]) for _ in ids], np.int16),
        joined_on=np.array([dice.choice([NO_DAY, 19_000, 19_001, 20_500]) for _ in ids], np.int32),
        volumes={
            (volume_type, period): np.array([dice.randrange(-500, 3000) for _ in ids], np.int64)
            for volume_type in VOLUME_TYPES
            for period in PERIODS
        },
        further={
            "region": FurtherColumn.of_texts([REGIONS[dice.randrange(4)] for _ in ids]),
            "points": FurtherColumn("integer", np.array([dice.choice([NO_NUMBER, -3, 0, 7, 2**40]) for _ in ids])),
            "score": FurtherColumn(
                "decimal", np.array([dice.choice([NO_NUMBER, -1, 1_500_000, 2_000_000, 333_333]) for _ in ids])
            ),
            "renewed": FurtherColumn("date", np.array([dice.choice([NO_DAY, 20_000, 0]) for _ in ids], np.int32)),
        },
    )


def random_update(dice: random.Random, number: int, ids: list[str]) -> types_pb2.Update:
    """Any update; some of them are refused or held."""
    update = types_pb2.Update(update_id=f"u{number}")
    member_id = dice.choice(ids)
    what = dice.randrange(10)
    if what < 3:
        new = f"N{number}"
        update.member_enrolled.member_id = new
        update.member_enrolled.sponsor_id = dice.choice([*ids[-20:], ""] if dice.random() < 0.9 else ["nobody"])
        update.member_enrolled.placement_id = dice.choice([dice.choice(ids), ""])
        update.member_enrolled.status = dice.choice(STATUSES)
        update.member_enrolled.rank = dice.randrange(40)
        update.member_enrolled.joined_on = dice.choice(["2026-11-20", ""])
        update.member_enrolled.columns["region"] = dice.choice(["north", "new region"])
        ids.append(new)
    elif what < 6:
        posted = update.volume_posted
        posted.member_id, posted.amount_hundredths = member_id, dice.randrange(-300, 900)
        posted.volume_type, posted.period = dice.choice(["", *VOLUME_TYPES]), dice.choice(["", *PERIODS])
    elif what == 6:
        update.member_changed.member_id = member_id
        update.member_changed.status = dice.choice(["new status", "A"])
        update.member_changed.columns["score"] = "2.25"
    elif what < 9:
        update.member_moved.member_id, update.member_moved.new_parent_id = member_id, dice.choice([*ids, ""])
        update.member_moved.tree = dice.choice([types_pb2.TREE_SPONSOR, types_pb2.TREE_PLACEMENT])
    else:
        update.member_removed.member_id = member_id
        update.member_removed.mode = dice.choice([types_pb2.REMOVAL_MODE_COMPRESS, types_pb2.REMOVAL_MODE_LEAVE_EMPTY])
    return update


def random_tree(seed: int, members: int = 110, updates: int = 90) -> Tree:
    """A tree at position `updates` + 2; one update at least is held, and one rejected."""
    dice = random.Random(seed)
    table = random_table(dice, members)
    tree = Tree.from_table(table, config(), import_id=3, position=0)
    ids = [member_id.decode() for member_id in table.member_ids.tolist()]
    held = types_pb2.Update(update_id="held", volume_posted=types_pb2.VolumePosted(member_id="not yet here"))
    closed = types_pb2.VolumePosted(member_id=ids[0], amount_hundredths=1, period="1999-01")
    rejected = types_pb2.Update(update_id="rejected", volume_posted=closed)
    tree.apply(1, [*(random_update(dice, number, ids) for number in range(updates)), held, rejected])
    return tree
