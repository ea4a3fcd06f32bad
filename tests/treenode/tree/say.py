"""Updates in few words."""

from __future__ import annotations

import itertools
from typing import Any

from fasttree.v1 import types_pb2
from services.treenode.tree import NotApplied, Tree

_numbers = itertools.count(1)


def update(**change: Any) -> types_pb2.Update:
    """An update with an id of its own."""
    return types_pb2.Update(update_id=f"say-{next(_numbers)}", **change)


def enrol(member_id: str, sponsor_id: str = "", placement_id: str = "", **more: Any) -> types_pb2.Update:
    member = types_pb2.MemberEnrolled(member_id=member_id, sponsor_id=sponsor_id, placement_id=placement_id, **more)
    return update(member_enrolled=member)


def order(member_id: str, amount_hundredths: int, **more: Any) -> types_pb2.Update:
    return update(
        volume_posted=types_pb2.VolumePosted(member_id=member_id, amount_hundredths=amount_hundredths, **more)
    )


def move(member_id: str, new_parent_id: str, **more: Any) -> types_pb2.Update:
    """A move, in the sponsor tree if not said otherwise."""
    return update(member_moved=types_pb2.MemberMoved(member_id=member_id, new_parent_id=new_parent_id, **more))


def change(member_id: str, **fields: Any) -> types_pb2.Update:
    """New values."""
    return update(member_changed=types_pb2.MemberChanged(member_id=member_id, **fields))


def remove(member_id: str, *, leave_empty: bool = False, volume_leaves: bool = False) -> types_pb2.Update:
    """A removal; its volume rolls up if not said otherwise."""
    mode = types_pb2.REMOVAL_MODE_LEAVE_EMPTY if leave_empty else types_pb2.REMOVAL_MODE_COMPRESS
    volume = types_pb2.REMOVAL_VOLUME_LEAVES if volume_leaves else types_pb2.REMOVAL_VOLUME_UNSPECIFIED
    return update(member_removed=types_pb2.MemberRemoved(member_id=member_id, mode=mode, volume=volume))


def settle(action: str, which: int | str, reason: str = "a test says so") -> types_pb2.Update:
    """`drop` or `retry`, of a position or of a member."""
    settled = types_pb2.HeldSettled(action=types_pb2.HeldAction.Value(f"HELD_ACTION_{action.upper()}"), reason=reason)
    if isinstance(which, int):
        settled.position = which
    else:
        settled.member_id = which
    return update(held_settled=settled)


def take(tree: Tree, *updates: types_pb2.Update) -> list[NotApplied]:
    """Applies updates at the next positions."""
    return tree.apply(tree.position + 1, updates)
