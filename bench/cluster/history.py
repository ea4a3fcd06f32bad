"""What clients saw of the log, call by call, and whether one log explains all of it.

A log is one that every push was appended to at one instant between its beginning and its receipt, and that every read
looked at one instant of. Where that is so, the positions say the order of those instants. So it is checked, from the
calls alone and not from the log:

1. Each id has one position, and each position one id.
2. What began after a receipt had come stands behind that receipt's position.
3. A read shows no less than the position that it asked for, and nothing that was pushed only after its answer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple


class Pushed(NamedTuple):
    """A push with its receipt; both times in seconds of one monotonic clock."""

    update_id: str
    begun_s: float
    ended_s: float
    position: int


class Read(NamedTuple):
    """A read that asked for a position, and what it was as of."""

    begun_s: float
    ended_s: float
    min_position: int
    position: int


def problems(pushes: Iterable[Pushed], reads: Iterable[Read]) -> list[str]:
    """What no log explains; empty where one explains all."""
    ordered = sorted(pushes, key=lambda push: push.position)
    found = _positions(ordered)
    # Of the pushes up to each place, the one that began last.
    latest = list(accumulate(ordered, _later))
    for before, push in zip(latest, ordered[1:], strict=False):
        if before.begun_s > push.ended_s:
            found.append(
                f"{before.update_id} was pushed after the receipt of {push.update_id} for {push.position} had come, "
                f"and stands before it, at {before.position}"
            )
    ends = [push.position for push in ordered]
    for read in reads:
        if read.position < read.min_position:
            found.append(f"a read that asked for {read.min_position} was as of {read.position}")
        shown = bisect_right(ends, read.position)
        if shown and latest[shown - 1].begun_s > read.ended_s:
            push = latest[shown - 1]
            found.append(f"a read as of {read.position} was answered before {push.update_id} of it was pushed")
    return found


def _later(one: Pushed, other: Pushed) -> Pushed:
    return other if other.begun_s > one.begun_s else one


def _positions(ordered: Sequence[Pushed]) -> list[str]:
    found: list[str] = []
    by_id: dict[str, int] = {}
    for before, push in zip((None, *ordered), ordered, strict=False):
        if (other := by_id.setdefault(push.update_id, push.position)) != push.position:
            found.append(f"{push.update_id} has receipts for {other} and {push.position}")
        if before is not None and before.position == push.position and before.update_id != push.update_id:
            found.append(f"{before.update_id} and {push.update_id} both have receipts for {push.position}")
    return found
