"""What happened between two looks at one process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

from fasttree.command.top.figures import Calls, Figures
from fasttree.v1 import report_pb2

#: What a read is: a report, whichever.
_READS = frozenset(report_pb2.DESCRIPTOR.services_by_name["ReportService"].methods_by_name)
_QUANTILE = 0.99


@dataclass(frozen=True, kw_only=True)
class CallRate:
    """Of one name."""

    call: str
    per_s: float
    failed_per_s: float
    #: None: there were none.
    p99_ms: float | None


class RatesJson(TypedDict):
    """Figures between two looks; null: not known."""

    updates_per_s: float | None
    reads_per_s: float | None
    p99_ms: float | None
    memory_bytes: float | None
    processor_percent: float | None
    loop_delay_ms: float | None
    calls: list[CallRate]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """None: not known, for want of a look before, or of the figure."""

    updates_per_s: float | None = None
    reads_per_s: float | None = None
    p99_ms: float | None = None
    memory_bytes: float | None = None
    #: Of one processor; more than 100 on several.
    processor_percent: float | None = None
    loop_delay_ms: float | None = None
    #: The busiest first.
    calls: tuple[CallRate, ...] = ()

    @property
    def json(self) -> dict[str, Any]:
        """As `RatesJson` has it."""
        return {**asdict(self), "calls": [asdict(each) for each in self.calls]}


def rates(before: Figures | None, now: Figures) -> Rates:
    """`before`: of the same process. Of one that was started anew meanwhile, nothing but what is so now."""
    delay_ms = None if now.loop_delay_s is None else now.loop_delay_s * 1_000
    if before is None or now.at_s <= before.at_s or _is_another(before, now):
        return Rates(memory_bytes=now.memory_bytes, loop_delay_ms=delay_ms)
    took_s = now.at_s - before.at_s
    grown = {call: _between(before.calls.get(call), found) for call, found in now.calls.items()}
    calls = [
        CallRate(
            call=call,
            per_s=each.count / took_s,
            failed_per_s=each.failed / took_s,
            p99_ms=_quantile_ms(each.buckets),
        )
        for call, each in grown.items()
        if each.count
    ]
    reads = [each for call, each in grown.items() if call in _READS]
    together: dict[float, float] = {}
    for each in reads:
        for bound, count in each.buckets.items():
            together[bound] = together.get(bound, 0.0) + count
    busy_s = _grown(before.processor_s, now.processor_s)
    updates = _grown(before.updates, now.updates)
    return Rates(
        memory_bytes=now.memory_bytes,
        loop_delay_ms=delay_ms,
        updates_per_s=None if updates is None else updates / took_s,
        reads_per_s=sum(each.count for each in reads) / took_s if now.has_reports else None,
        p99_ms=_quantile_ms(together),
        processor_percent=None if busy_s is None else 100 * busy_s / took_s,
        calls=tuple(sorted(calls, key=lambda each: (-each.per_s, each.call))),
    )


def _is_another(before: Figures, now: Figures) -> bool:
    """A process's own time only grows."""
    pairs = [(before.processor_s, now.processor_s), (before.updates, now.updates)]
    pairs += [
        (found.count, now.calls[call].count if call in now.calls else 0.0) for call, found in before.calls.items()
    ]
    return any(old is not None and new is not None and new < old for old, new in pairs)


def _grown(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else now - before


def _between(before: Calls | None, now: Calls) -> Calls:
    if before is None:
        return now
    buckets = {bound: count - before.buckets.get(bound, 0.0) for bound, count in now.buckets.items()}
    return Calls(buckets, now.failed - before.failed)


def _quantile_ms(buckets: Mapping[float, float]) -> float | None:
    """Within its range by a straight line, as Prometheus has it; above the last range, that one's beginning."""
    bounds = sorted(buckets)
    whole = buckets[bounds[-1]] if bounds else 0.0
    if not whole:
        return None
    wanted, low_s, below = _QUANTILE * whole, 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= wanted:
            if bound == float("inf"):
                return low_s * 1_000
            return (low_s + (bound - low_s) * (wanted - below) / (buckets[bound] - below)) * 1_000
        low_s, below = bound, buckets[bound]
    return low_s * 1_000
