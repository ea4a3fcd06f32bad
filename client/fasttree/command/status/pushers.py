"""Of several pushers: which one is active, and where the others stand."""

from __future__ import annotations

from collections.abc import Iterator

from fasttree.client.status.pushers import PusherJson


def pusher_lines(pushers: list[PusherJson]) -> Iterator[str]:
    """A line for each."""
    for pusher in pushers:
        state = f"silent for {pusher['silent_ms'] / 1_000:.0f} s" if pusher["state"] == "silent" else pusher["state"]
        epoch = f", epoch {pusher['epoch']}" if pusher["active"] else ""
        note = f"; {pusher['note']}" if pusher["note"] else ""
        yield f"pusher {pusher['pusher']} at {pusher['address']}: {state}{epoch}, position {pusher['position']}{note}"
