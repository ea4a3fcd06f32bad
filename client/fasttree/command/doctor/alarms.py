"""Figures that mean that something is wrong: the alert rules that look at one figure of one moment.

`deploy/alerts` has the rules; a test holds these to them (`tests/command/doctor/test_alarms.py`). What the rules see
over time, Prometheus alone can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

#: Of FastTreeDiskAlmostFull.
DISK_FREE_BYTES = 5e9


def room(size_bytes: float) -> str:
    """Such as "1.5 GB are"."""
    for unit, bytes_of_one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= bytes_of_one:
            return f"{size_bytes / bytes_of_one:.1f} {unit} are"
    return "nothing is"


class Alarm(NamedTuple):
    """One rule."""

    figure: str
    #: "<", ">" or "==".
    relation: str
    bound: float
    alert: str
    #: With the figure's value as `value`.
    text: str
    fault: bool = True

    def told(self, value: float) -> str:
        """The text, of that value."""
        return self.text.format(value=value, room=room(value))

    def rings(self, value: float) -> bool:
        """Whether the rule says so of it."""
        match self.relation:
            case "<":
                return value < self.bound
            case ">":
                return value > self.bound
            case _:
                return value == self.bound


_ROOM = "{room} free on the disk of its state"
_ALMOST_FULL = "FastTreeDiskAlmostFull"
_HELD = "a heartbeat waited {value:.2f} s for its event loop in the last minute"
_UNFIT = "the store of import files can't be used: imports are not taken"

#: What `fasttree status` tells already (who is primary, lag, digests, imports, halts, pauses, certificates), and why a
#: node refuses the pusher, which it says itself, is not told again.
ALARMS = (
    Alarm("fasttree_pusher_disk_free_bytes", "<", DISK_FREE_BYTES, _ALMOST_FULL, _ROOM),
    Alarm("fasttree_node_disk_free_bytes", "<", DISK_FREE_BYTES, _ALMOST_FULL, _ROOM),
    Alarm("fasttree_coordinator_disk_free_bytes", "<", 1e9, _ALMOST_FULL, _ROOM),
    Alarm("fasttree_pusher_import_store_unfit", "==", 1, "FastTreeImportStoreUnfit", _UNFIT),
    Alarm(
        "fasttree_node_lag_seconds", ">", 30, "FastTreeNodeLagsLong", "it has lacked updates for {value:.0f} s", False
    ),
    Alarm("fasttree_node_loop_delay_seconds", ">", 0.5, "FastTreeLoopHeld", _HELD, False),
    Alarm("fasttree_node_report_copies_waiting", ">", 32, "FastTreeReportsWait", "{value:.0f} reports wait", False),
    Alarm("fasttree_node_periods_missing", ">", 0, "FastTreePeriodNotKept", "{value:.0f} closed months are not kept"),
)


def ringing(text: str) -> Iterator[tuple[Alarm, float]]:
    """Those of a service's page of figures. Raises ValueError where it is none."""
    from prometheus_client.parser import text_string_to_metric_families  # far from every command needs it

    values: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        values.update({sample.name: sample.value for sample in family.samples if sample.name == family.name})
    for alarm in ALARMS:
        if alarm.figure in values and alarm.rings(values[alarm.figure]):
            yield alarm, values[alarm.figure]


def versions_of(text: str) -> set[str]:
    """The version of the package that a service runs; none where it does not say."""
    from prometheus_client.parser import text_string_to_metric_families

    return {
        sample.labels["version"]
        for family in text_string_to_metric_families(text)
        if family.name.endswith("_build")
        for sample in family.samples
    }
