"""Updates, in a line each."""

from __future__ import annotations

from fasttree.v1 import types_pb2


def enrolled(member_id: str, sponsor_id: str = "") -> types_pb2.Update:
    change = types_pb2.MemberEnrolled(member_id=member_id, sponsor_id=sponsor_id, status="A")
    return types_pb2.Update(update_id=f"E-{member_id}", member_enrolled=change)


def posted(order: str, member_id: str, amount_hundredths: int = 100) -> types_pb2.Update:
    change = types_pb2.VolumePosted(member_id=member_id, amount_hundredths=amount_hundredths)
    return types_pb2.Update(update_id=order, volume_posted=change)


def removed(member_id: str) -> types_pb2.Update:
    return types_pb2.Update(update_id=f"R-{member_id}", member_removed=types_pb2.MemberRemoved(member_id=member_id))


def moved(update_id: str, member_id: str, new_parent_id: str) -> types_pb2.Update:
    change = types_pb2.MemberMoved(member_id=member_id, new_parent_id=new_parent_id, tree=types_pb2.TREE_SPONSOR)
    return types_pb2.Update(update_id=update_id, member_moved=change)
