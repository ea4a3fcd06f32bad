"""Parts whose places settings say."""

from __future__ import annotations

from services.console.settings import MachineSettings


def parts_of(settings: MachineSettings) -> dict[str, str]:
    """host:port by name; of several of a kind the name has the place too."""
    found: dict[str, str] = {}
    for kind, text in (("coordinator", settings.coordinator_http), ("pusher", settings.pusher_http)):
        places = [place.strip() for place in text.split(",") if place.strip()]
        found |= {kind if len(places) == 1 else f"{kind} {place}": place for place in places}
    return found
