"""`[audit]`: where a service writes down who did what, and how much of it is kept."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from services.shared.config.bounds import OptionalOwnFolder, Seconds
from services.shared.config.sections import Settings


class AuditSettings(Settings, frozen=True, kw_only=True):
    """Of each service; every one has its own files."""

    #: Folder of the audit log; empty: `audit` in the service's state folder. One process has it at a time.
    folder: OptionalOwnFolder = ""
    #: Of one file, in bytes; the next one is begun then.
    file_bytes_max: Annotated[int, Meta(ge=64 << 10, le=1 << 30)] = 16 << 20
    #: Files of operations that are kept, and as many of refusals; the oldest goes when there is one more.
    files_kept: Annotated[int, Meta(ge=2, le=100_000)] = 64
    #: Refusals of one peer that are written one by one within `summary_s`, and ten times as many of all peers together;
    #: what is above is counted.
    refusals_in_full: Annotated[int, Meta(ge=1, le=100_000)] = 60
    #: How often what was counted is summed up, a record for each peer, in seconds.
    summary_s: Seconds = 60.0
