"""Whether the local port and the spool take updates, by what is in force."""

from __future__ import annotations

from typing import Final

from services.datatrax.cbldatatrax.configuration import Configuration, Value

#: gRPC's number for what may be tried again once something else has changed.
FAILED_PRECONDITION: Final = 9


def why_closed(configuration: Configuration, environment: str) -> str:
    """Why nothing is taken, with the line and the mend; empty where updates are."""
    chosen = configuration.environments[environment]
    for name in ("enabled-primary", "cluster-transfer"):
        if not chosen.is_on(name):
            said = _said(chosen.values[name])
            return f"{environment} has no cluster ({said}): this was not taken, and belongs to its server of 2016"
    if not chosen.is_on("Instant-Push"):
        said = _said(chosen.values["Instant-Push"])
        return f"instant push is off in {environment} ({said}): this was not taken, and comes with the next import"
    return ""


def _said(value: Value) -> str:
    where = f"line {value.line} of CBLDATATRAX" if value.line else "by default"
    return f"{value.name}={value.text.upper()}, {where}"
