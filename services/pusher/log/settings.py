"""What the log can be set to."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from services.shared.config.sections import Settings


class LogSettings(Settings, frozen=True, kw_only=True):
    """What the log takes of memory and disk, and how much one write of it holds."""

    #: Most updates that one fsync covers.
    group_updates_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 5_000
    #: Page cache of the log, for the index of ids, in mebibytes.
    log_cache_mib: Annotated[int, Meta(ge=1, le=1 << 20)] = 128
    #: Most pages of 4 KiB that the log may have; 0: as many as the disk has room for.
    log_pages_max: Annotated[int, Meta(ge=0, le=(1 << 32) - 2)] = 0
    #: Newest records kept in memory, so that fan-out does not read the disk, in mebibytes.
    tail_mib: Annotated[int, Meta(ge=1, le=1 << 20)] = 64
