"""How often the nodes' digests are compared."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from services.shared.config.sections import Settings


class ComparisonSettings(Settings, frozen=True, kw_only=True):
    """A difference is found within two comparisons and the time that the second one takes: 10 s at most."""

    #: The nodes' digests are compared so often, in seconds.
    digest_interval_s: Annotated[float, Meta(ge=0.1, le=3.0)] = 2.0
