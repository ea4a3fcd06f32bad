"""What the lineage of a log can be set to."""

from __future__ import annotations

from services.shared.config.bounds import SecondsFrom0
from services.shared.config.sections import Settings


class LineageSettings(Settings, frozen=True, kw_only=True):
    """How long a log without a past waits for nodes to speak."""

    #: A log that nothing vouches for waits so long to hear from every node, in seconds; then one of them is enough.
    lineage_patience_s: SecondsFrom0 = 10.0
