"""What news of the nodes means for the rollout."""

from __future__ import annotations

from services.pusher.fanout.events import NodeStands
from services.pusher.fanout.members import MembersChanged
from services.pusher.imports.events import HostsKnown, NodeDown, NodeUp, PrimarySeen, RolloutEvent


def for_rollout(news: NodeStands | MembersChanged) -> list[RolloutEvent]:
    """The events that the rollout core is told, in order."""
    if isinstance(news, NodeStands):
        up = NodeUp(news.node, news.import_id, follows_log=news.follows_log)
        return [up if news.connected else NodeDown(news.node)]
    events: list[RolloutEvent] = []
    if news.now.addresses != news.before.addresses:
        events.append(HostsKnown(news.now.addresses))
    if news.now.primary != news.before.primary:
        events.append(PrimarySeen(news.now.primary))
    return events
