"""The way out of each alert, as the runbook has it: `docs/alerts.md`, read as the console reads it."""

from __future__ import annotations

import functools
import re

#: Of who is answered that he may not.
MAY_NOT = "show a certificate or a token of one who may (--tls-dir, --token-file): `fasttree policy test` says who does"
_LINK = re.compile(r"\[([^]]+)\]\(([^)]+)\)")


def mend_of(alert: str) -> str:
    """On one line, with where more of it stands."""
    return _mends().get(alert, f"docs/alerts.md, {alert}")


@functools.cache
def _mends() -> dict[str, str]:
    from services.console.api.runbook import Runbook  # it loads a server's code

    try:
        return {row["alert"]: _LINK.sub(r"\1 (docs/\2)", row["mend"]) for row in Runbook().alerts}
    except OSError:  # installed without the pages
        return {}
