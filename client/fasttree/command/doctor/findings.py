"""What a check found."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, and its mend."""

    #: What was looked at, such as "disk".
    check: str
    text: str
    mend: str
    #: The alert of docs/alerts.md; empty: none is of it.
    alert: str = ""
    #: False: worth a look, or it could not be looked at.
    fault: bool = True

    @property
    def json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


#: Looks, and yields what is wrong.
Check = Callable[[], AsyncIterator[Finding]]
