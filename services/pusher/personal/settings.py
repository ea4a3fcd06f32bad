"""`[pusher]`, `personal_…`: how nodes are given what personal columns hold, and how long the vault is waited for."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from services.shared.config.bounds import Seconds
from services.shared.config.sections import Settings


class PersonalSettings(Settings, frozen=True, kw_only=True):
    """The vault at the pusher."""

    #: Values of personal columns that a node gets by one call.
    personal_changes_max: Annotated[int, Meta(ge=1, le=10_000)] = 1_000
    #: A node that has all of them waits so long for more, in seconds; then it asks again.
    personal_follow_s: Annotated[float, Meta(ge=0.01, le=20)] = 10.0
    #: What an import brings nodes hear of within this time, in seconds.
    personal_look_s: Annotated[float, Meta(ge=0.01, le=20)] = 0.5
    #: Imports and updates write the vault in turns: the longest wait for one's turn, in seconds.
    personal_wait_s: Seconds = 10.0
    #: An erasure that a crash kept from a log without room is tried again after so long, in seconds.
    personal_log_again_s: Seconds = 5.0
