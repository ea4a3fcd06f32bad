"""A node's core as a whole: life cycle, role and sequence in one. Every event by its plain name."""

from __future__ import annotations

from typing import get_args

from services.treenode.node.node import NodeCore, NodeEvent
from services.treenode.node.sequence import PositionGapError
from services.treenode.node.settings import NodeSettings, RoleSettings
from tests.scenarios.driver import Table, of_folder


def state(core: NodeCore, now_s: float) -> str:
    """Where the node is in its life, and at what position."""
    lease = f", primary in epoch {core.role.primary_epoch}" if core.role.is_primary(now_s) else ""
    return f"{core.state.name.lower()} at import {core.sequence.import_id}, position {core.sequence.position}{lease}"


TABLE = Table(
    start=NodeSettings(role=RoleSettings(lease_margin_s=0.1), catch_up_grace_s=3.0, caught_up_lag_updates=0),
    make=lambda settings: NodeCore(settings, 0.0),
    events=get_args(NodeEvent),
    state=state,
    errors=(PositionGapError,),
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
