"""The figures of one service at one moment, out of its page for monitors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

#: What begins the names of each kind of service.
PREFIXES = {"node": "fasttree_node_", "pusher": "fasttree_pusher_", "coordinator": "fasttree_coordinator_"}
#: Of a call that ended well, or is its caller's to judge.
_FAILURES = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


@dataclass(frozen=True)
class Calls:
    """Of one name, since the process began: how many took up to which time, in seconds; and those that failed."""

    buckets: Mapping[float, float]
    failed: float = 0.0

    @property
    def count(self) -> float:
        """All of them."""
        return max(self.buckets.values(), default=0.0)


@dataclass(frozen=True)
class Figures:
    """Of one process; None where it does not show that one."""

    at_s: float
    memory_bytes: float | None = None
    processor_s: float | None = None
    loop_delay_s: float | None = None
    #: Whether it answers reports.
    has_reports: bool = False
    #: Of a node: applied; of the pusher: taken.
    updates: float | None = None
    calls: Mapping[str, Calls] = field(default_factory=dict)


def read_figures(kind: str, text: str, at_s: float) -> Figures:
    """`kind`: of `PREFIXES`. Raises ValueError where the text is none of Prometheus' form."""
    from prometheus_client.parser import text_string_to_metric_families  # far from every command needs it

    prefix = PREFIXES[kind]
    plain: dict[str, float] = {}
    buckets: dict[str, dict[float, float]] = defaultdict(lambda: defaultdict(float))
    failed: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        if not family.name.startswith(prefix):
            continue
        for sample in family.samples:
            name, labels = sample.name.removeprefix(prefix), sample.labels
            if name == "call_seconds_bucket":
                buckets[labels["call"]][float(labels["le"])] += sample.value
            elif name == "call_seconds_count" and labels["code"] in _FAILURES:
                failed[labels["call"]] += sample.value
            elif name == "updates_total":
                plain["taken"] = plain.get("taken", 0.0) + (sample.value if labels.get("result") == "taken" else 0.0)
            else:
                plain[name] = sample.value
    return Figures(
        at_s=at_s,
        has_reports=kind == "node",
        memory_bytes=plain.get("memory_bytes"),
        processor_s=plain.get("processor_seconds_total"),
        loop_delay_s=plain.get("event_loop_delay_seconds"),
        updates=plain.get("applied_updates_total" if kind == "node" else "taken"),
        calls={call: Calls(dict(found), failed[call]) for call, found in buckets.items()},
    )
