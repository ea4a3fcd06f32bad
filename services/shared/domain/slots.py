"""How many volume types and periods a cluster has room for: each pair has columns of its own in every node."""

from __future__ import annotations

from collections.abc import Collection

from services.shared.domain.limits import PERIODS_EVER_MAX, PERIODS_MAX, SLOTS_MAX, VOLUME_TYPES_MAX


def slots_problem(volume_types: int, periods: int) -> str | None:
    """Why so many do not fit; None where they do. The words are of what nodes keep of an update that they reject: they
    stay as they are."""
    if volume_types * periods <= SLOTS_MAX:
        return None
    return f"{volume_types} volume types in {periods} periods are more than the {SLOTS_MAX} that fit: close a period"


def brought_problem(
    volume_types: Collection[str],
    periods: Collection[str],
    sealed_periods: Collection[str],
    file_types: Collection[str],
    file_periods: Collection[str],
) -> str | None:
    """Why an import file's volume types and periods do not fit beside those of the rules, with the numbers and the way
    out; None where they do, and of a file that brings none.

    `periods`: those that take orders. What the file brings takes orders too from then on, but for periods that are
    closed for good, which are only read.
    """
    known_types, taking_orders, sealed = {*volume_types}, {*periods}, {*sealed_periods}
    types, either = known_types | {*file_types}, taking_orders | {*file_periods}
    opened = either - taking_orders - sealed
    if types == known_types and either == taking_orders:
        return None
    if len(types) > VOLUME_TYPES_MAX:
        more = len(types) - len(known_types)
        return (
            f"{more} volume types more than the {len(known_types)} that the cluster has make {len(types)}, and "
            f"{VOLUME_TYPES_MAX} fit: leave some out"
        )
    if opened and len(taking_orders | opened) > PERIODS_MAX:
        return (
            f"{len(opened)} periods more than the {len(taking_orders)} that take orders make "
            f"{len(taking_orders | opened)}, and {PERIODS_MAX} fit: leave some out, or close some "
            "(`fasttree period close`)"
        )
    if opened and len(taking_orders | opened | sealed) > PERIODS_EVER_MAX:
        return (
            f"{len(opened)} periods more than the {len(taking_orders | sealed)} that were ever opened are more "
            f"than the {PERIODS_EVER_MAX:,} that fit: leave some out"
        )
    if len(types) * len(either) > SLOTS_MAX:
        return (
            f"with those that the cluster has, {len(types)} volume types in {len(either)} periods are "
            f"{len(types) * len(either):,} pairs, and {SLOTS_MAX:,} fit: leave some out, or close periods "
            "(`fasttree period close`)"
        )
    return None
