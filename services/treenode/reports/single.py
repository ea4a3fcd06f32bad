"""One member as a message, by the shortest way: most calls ask for one."""

from __future__ import annotations

from fasttree.v1 import types_pb2
from services.treenode.reports.columns import VOLUMES, Choice
from services.treenode.reports.days import day_text
from services.treenode.reports.reading import genealogy
from services.treenode.reports.rows import PLAIN_DTYPES
from services.treenode.tree import Tree
from services.treenode.tree.links import Genealogy
from services.treenode.tree.store import Store
from services.treenode.tree.table import NO_DAY

KINDS = (types_pb2.MEMBER_KIND_UNSPECIFIED, types_pb2.MEMBER_KIND_DISTRIBUTOR, types_pb2.MEMBER_KIND_CUSTOMER)


def id_at(store: Store, row: int) -> str:
    """The id of a row."""
    content: bytes = store.ids.words[row].tobytes()
    return content.rstrip(b"\0").decode()


def parent_id(store: Store, walked: Genealogy, row: int) -> str:
    """The id of whoever stands above a row; empty for none."""
    mapped = len(walked.seat_of) > 0
    above = walked.parent.item(walked.seat_of.item(row) if mapped else row)
    if above < 0:
        return ""
    return id_at(store, walked.row_at.item(above) if mapped else above)


def member_at(tree: Tree, choice: Choice, row: int) -> types_pb2.Member:
    """The member in a row, with the columns of the choice; its level counts from the root."""
    store, walked = tree.store, genealogy(tree, choice)
    seat = walked.seat_of.item(row) if len(walked.seat_of) else row
    member = types_pb2.Member()
    for name in choice.columns:
        if name == "member_id":
            member.member_id = id_at(store, row)
        elif name == "sponsor_id":
            member.sponsor_id = parent_id(store, store.sponsor, row)
        elif name == "level":
            member.level = walked.level.item(seat)
        elif name == "kind":
            member.kind = KINDS[store.kind.item(row)]
        elif name == "status":
            member.status = tree.statuses.texts[store.status.item(row)]
        elif name == "rank":
            member.rank = store.rank.item(row)
        elif name == "joined_on":
            day = store.joined_on.item(row)
            if day != NO_DAY:
                member.joined_on = day_text(day)
        elif name == "pv":
            member.pv_hundredths = store.personal.item(tree.slot(choice.volume_type, choice.period), row)
        elif name == "gv":
            member.gv_hundredths = walked.group.item(tree.slot(choice.volume_type, choice.period), seat)
        elif name == "downline_count":
            member.downline_count = walked.members.item(seat)
        elif name == "placement_id":
            member.placement_id = parent_id(store, store.placement, row)
        elif name == "placement_leg":
            member.placement_leg = store.leg.item(row)
        elif name == VOLUMES:
            _add_volumes(member, tree, walked, row, seat)
        elif name not in PLAIN_DTYPES:
            text = tree.further[name].text_at(row)
            if text:
                member.columns[name] = text
    return member


def _add_volumes(member: types_pb2.Member, tree: Tree, walked: Genealogy, row: int, seat: int) -> None:
    for slot, (volume_type, period) in enumerate(tree.slot_keys()):
        member.volumes.add(
            volume_type=volume_type,
            period=period,
            personal_hundredths=tree.store.personal.item(slot, row),
            group_hundredths=walked.group.item(slot, seat),
        )
