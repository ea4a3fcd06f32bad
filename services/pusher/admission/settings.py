"""What admission can be set to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class AdmissionSettings:
    """Limits of what may be under way, and how long a receipt may wait."""

    #: Updates of one stream that may lack their receipts. (Long ones count several times: see `Batch.cost`.)
    stream_updates_max: int = 10_000
    #: Updates of all streams together that may wait for the disk.
    updates_max: int = 50_000
    #: How long a receipt may wait for nodes, from when its batch was stored.
    ack_timeout_s: float = 10.0
