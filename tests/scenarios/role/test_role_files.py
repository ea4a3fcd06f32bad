"""A node's role core. Every event by its plain name: `LeaseAnswered SEQUENCE PRIMARY EPOCH LEASE_S`."""

from __future__ import annotations

from typing import get_args

from services.treenode.node.role import RoleCore, RoleEvent
from services.treenode.node.settings import RoleSettings
from tests.scenarios.driver import Table, of_folder
from tests.scenarios.language import write_value


def state(core: RoleCore, now_s: float) -> str:
    """What the node may call itself, and until when."""
    ready = "ready" if core.ready else "not ready"
    if not core.is_primary(now_s):
        return f"{ready}, not primary, epoch {core.epoch}" + (" (primary_epoch is set)" if core.primary_epoch else "")
    return f"{ready}, primary in epoch {core.primary_epoch} until {write_value(core.lease_until_s)}"


TABLE = Table(
    start=RoleSettings(lease_margin_s=0.1), make=RoleCore, events=get_args(RoleEvent), state=state, errors=(ValueError,)
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
