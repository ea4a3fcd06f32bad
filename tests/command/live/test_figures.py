"""Figures of services, and what happened between two looks."""

from __future__ import annotations

from pathlib import Path

import pytest

from fasttree.command.top.figures import PREFIXES, Calls, Figures, read_figures
from fasttree.command.top.rates import CallRate, Rates, rates
from services.shared.serving.metrics import Metrics
from tests.command.live.pages import figures

#: What the services show, as they show it: `tests/shared/test_ops_pages.py`.
LISTS = Path(__file__).parents[2] / "shared" / "ops_pages"
_FILES = {"node": "treenode", "pusher": "pusher", "coordinator": "coordinator"}


@pytest.mark.parametrize("kind", PREFIXES)
def test_each_figure_is_one_that_the_service_shows(kind: str) -> None:
    shown = (LISTS / f"{_FILES[kind]}.txt").read_text()
    names = {line.split()[0] for line in shown.splitlines() if line.startswith(PREFIXES[kind])}
    read = {"memory_bytes", "processor_seconds", "event_loop_delay_seconds", "call_seconds"}
    read |= {"node": {"applied_updates"}, "pusher": {"updates"}}.get(kind, set())
    assert {PREFIXES[kind] + name for name in read} <= names


def test_what_a_real_service_shows_is_read(tmp_path: Path) -> None:
    metrics = Metrics("pusher", "fasttree_pusher_")
    metrics.process(tmp_path)
    metrics.counter_by("result", "updates", "Pushed.", lambda: {"taken": 7, "refused": 2})
    found = read_figures("pusher", metrics.text().decode(), 1.0)
    metrics.close()
    assert found.updates == 7
    assert (found.memory_bytes or 0) > 1e6
    assert (found.processor_s or 0) > 0
    assert found.loop_delay_s == 0


def test_a_look_is_held_against_the_one_before() -> None:
    before = read_figures("node", figures("node", 10, 100, 5.0), 100.0)
    now = read_figures("node", figures("node", 110, 300, 6.0), 102.0)
    found = rates(before, now)
    assert (found.updates_per_s, found.reads_per_s, found.processor_percent) == (50.0, 100.0, 50.0)
    assert (found.memory_bytes, found.loop_delay_ms) == (64e6, 5.0)
    # 4 of 200 took up to a second: of those beyond 198, half of that range's.
    assert found.p99_ms == pytest.approx(1 + 999 * 2 / 4)
    assert found.calls == (CallRate(call="GetMember", per_s=100.0, failed_per_s=2.0, p99_ms=found.p99_ms),)


@pytest.mark.parametrize(
    "before",
    [
        None,
        Figures(at_s=1.0, updates=200.0, processor_s=1.0),
        Figures(at_s=1.0, updates=1.0, calls={"GetMember": Calls({1.0: 9.0})}),
        Figures(at_s=2.0, updates=1.0),
    ],
    ids=["first", "restarted", "restarted_calls", "same_moment"],
)
def test_of_another_process_nothing_is_told_but_what_is_so_now(before: Figures | None) -> None:
    now = Figures(at_s=2.0, updates=100.0, processor_s=2.0, memory_bytes=5.0)
    assert rates(before, now) == Rates(memory_bytes=5.0)


def test_what_is_above_every_range_is_told_as_the_last_ones_beginning() -> None:
    now = Figures(at_s=2.0, calls={"GetMember": Calls({0.5: 0.0, float("inf"): 10.0})})
    assert rates(Figures(at_s=1.0), now).p99_ms == 500.0


def test_what_no_service_shows_is_no_figures() -> None:
    with pytest.raises(ValueError, match=r"."):
        read_figures("node", "<html>\n<body>hello {world}\n", 1.0)
