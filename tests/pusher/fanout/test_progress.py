"""What the fan-out tells others of a node."""

from __future__ import annotations

import pytest

from services.pusher.fanout.events import Applied, NodesKnown, NodeStands, Stood
from services.pusher.fanout.progress import NodeReplication, NodeStream
from services.pusher.fanout.replication import Replication
from services.pusher.fanout.settings import ReplicationSettings


@pytest.mark.parametrize(
    ("state", "shares"),
    [
        (NodeStream.AWAY, False),
        (NodeStream.CONNECTING, False),
        (NodeStream.STREAMING, True),
        (NodeStream.BEHIND_LOG, True),
        (NodeStream.NEEDS_IMPORT, True),
        (NodeStream.OTHER_LOG, False),
        (NodeStream.AHEAD_OF_LOG, False),
    ],
)
def test_a_node_confirms_only_where_its_positions_are_the_logs(state: NodeStream, shares: bool) -> None:
    assert NodeReplication("n:1", state=state).shares_log is shares


def test_a_node_that_left_the_cluster_stands_nowhere() -> None:
    node = NodeReplication("n:1", state=NodeStream.STREAMING, in_step=True, applied_position=7, import_id=2)
    assert node.stands() == NodeStands("n:1", connected=True, in_step=True, applied_position=7, import_id=2)
    core = Replication(
        ReplicationSettings(), log_id="log", first_position=1, position=9, jitter=lambda: 1.0, import_id=0
    )
    core.handle(NodesKnown(("n:1",)), 1.0)
    left = core.handle(NodesKnown(()), 2.0)
    assert NodeStands("n:1", connected=False, in_step=False, applied_position=0, import_id=0) in left


def test_when_a_node_was_last_there_and_what_it_has() -> None:
    core = Replication(
        ReplicationSettings(), log_id="log", first_position=1, position=9, jitter=lambda: 1.0, import_id=0
    )
    core.handle(NodesKnown(("n:1",)), 1.0)
    node = core.nodes["n:1"]
    assert (node.ever_stood, node.seen_at) == (False, None)
    core.handle(Stood("n:1", node.session, "log", 9, 4, 0), 2.0)
    assert (node.ever_stood, node.seen_at, node.import_id) == (True, 2.0, 4)
    core.handle(Applied("n:1", node.session, 9), 3.0)
    assert node.seen_at == 3.0
