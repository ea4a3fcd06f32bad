"""The page of the service's HTTP port that says what is in force, for people and for `fasttree datatrax status`."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from services.datatrax.in_force.watching import WatchedConfiguration, placed
from services.shared.domain.sentences import plain

#: Of each list that are told.
_TOLD_MAX = 100


def status_of(watched: WatchedConfiguration) -> dict[str, Any]:
    """What is in force, what waits for a start, and why the file as it lies there is not in force."""
    environment = watched.in_force.environments[watched.environment]
    values = [*environment.values.values(), *watched.in_force.common.values()]
    return {
        "file": str(watched.path),
        "environment": watched.environment,
        "takes_updates": not watched.why_closed(),
        "why_not": plain(watched.why_closed()),
        "refused": [placed(fault) for fault in watched.faults[:_TOLD_MAX]],
        "waiting": [each._asdict() for each in watched.waiting[:_TOLD_MAX]],
        "values": {value.name: value.text for value in values},
    }


def status_page(watched: WatchedConfiguration | None) -> web.RouteDef:
    """/status."""

    async def page(_: web.Request) -> web.Response:
        content = {"cbldatatrax": status_of(watched) if watched is not None else None}
        return web.Response(
            text=json.dumps(content, ensure_ascii=False, indent=2) + "\n",
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    return web.get("/status", page)
