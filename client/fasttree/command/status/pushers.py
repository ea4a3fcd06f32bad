"""Of several coordinators and of several pushers: which one is active, and where the others stand."""

from __future__ import annotations

from collections.abc import Iterator

from fasttree.client.status.pushers import PusherJson
from fasttree.client.status.servers import ServerJson


def coordinator_lines(coordinators: list[ServerJson]) -> Iterator[str]:
    """A line for each; of one alone nothing, where it is active, or where it is told elsewhere why nothing is known."""
    one_acts = any(each["state"] == "active" for each in coordinators)
    for each in coordinators:
        if len(coordinators) == 1 and each["state"] in ("active", "not reached", "unknown"):
            continue
        # Who is active stands in its own line.
        note = f"; {each['note']}" if each["note"] and not (each["state"] == "standby" and one_acts) else ""
        yield f"coordinator at {each['address']}: {each['state']}{note}"


def pusher_lines(pushers: list[PusherJson]) -> Iterator[str]:
    """A line for each."""
    for pusher in pushers:
        state = f"silent for {pusher['silent_ms'] / 1_000:.0f} s" if pusher["state"] == "silent" else pusher["state"]
        epoch = f", epoch {pusher['epoch']}" if pusher["active"] else ""
        note = f"; {pusher['note']}" if pusher["note"] else ""
        yield f"pusher {pusher['pusher']} at {pusher['address']}: {state}{epoch}, position {pusher['position']}{note}"


def not_named_lines(pushers: list[ServerJson], *, has_view: bool) -> Iterator[str]:
    """A line for each that no coordinator says anything of."""
    for each in pushers:
        state = f"not heard by the coordinator, {each['state']}" if has_view else each["state"]
        note = f"; {each['note']}" if each["note"] else ""
        yield f"pusher at {each['address']}: {state}{note}"
