"""What has to stay in the log."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from services.pusher.fanout.progress import NodeReplication, NodeStream
from services.pusher.imports.events import ImportPlace
from services.pusher.imports.history import ImportHistory, PastImport
from services.pusher.imports.retention import Retention
from services.pusher.imports.settings import RetentionSettings
from services.pusher.log.memory import MemoryLog
from services.pusher.log.store import LogEnds
from services.shared.serving.background import Background
from tests.waiting import until

ENDS = LogEnds(10, 100)
AWAY_SINCE, STARTED_AT = 500.0, 0.0


def taken(as_of_position: int, *carried: int) -> PastImport:
    return PastImport(1000 - as_of_position, as_of_position, ImportPlace.DONE, taken=True, carried_positions=carried)


def node(applied: int, seen_at: float | None = 900.0, *, connected: bool = False) -> NodeReplication:
    state = NodeStream.STREAMING if connected else NodeStream.AWAY
    return NodeReplication(
        "n:1", state=state, applied_position=applied, ever_stood=seen_at is not None, seen_at=seen_at
    )


def kept(old: int, imports: list[PastImport], nodes: list[NodeReplication], started_at: float = 0.0) -> int:
    return ImportHistory(imports).first_kept(ENDS, old, nodes, away_since=AWAY_SINCE, started_at=started_at)


def test_without_an_import_a_new_node_needs_everything() -> None:
    assert kept(90, [], [node(95)]) == 10


def test_what_is_young_stays() -> None:
    assert kept(30, [taken(80)], [node(95)]) == 31


def test_what_an_import_needs_stays_its_carried_updates_included() -> None:
    assert kept(90, [taken(80), taken(60)], [node(95)]) == 61
    assert kept(90, [taken(80, 42, 43)], [node(95)]) == 42


def test_what_a_node_lacks_stays_until_it_was_away_too_long() -> None:
    assert kept(90, [taken(80)], [node(70)]) == 71
    assert kept(90, [taken(80)], [node(70, seen_at=AWAY_SINCE)]) == 71
    assert kept(90, [taken(80)], [node(70, seen_at=499.0)]) == 81
    assert kept(90, [taken(80)], [node(70, seen_at=499.0, connected=True)]) == 71


def test_a_node_that_never_came_counts_as_seen_at_the_start() -> None:
    assert kept(90, [taken(80)], [node(0, seen_at=None)], started_at=600.0) == 10
    assert kept(90, [taken(80)], [node(0, seen_at=None)], started_at=100.0) == 81


def test_the_newest_record_always_stays_and_the_beginning_never_moves_back() -> None:
    assert kept(100, [taken(100)], [node(100)]) == 100
    assert kept(0, [taken(3)], [node(2)]) == 10


class MergingLog(MemoryLog):
    """It has ids to merge, which takes as long as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.goes = threading.Event(), threading.Event()
        self.is_over: Callable[[], bool] = bool

    def merge_ids(self, is_over: Callable[[], bool] = bool) -> None:
        self.is_over = is_over
        self.begun.set()
        self.goes.wait()


async def test_whoever_steps_down_ends_a_merge_that_is_under_way_and_waits_for_that() -> None:
    """What is opened after that is in the same folder."""
    store = MergingLog().claim_alone()
    writer: Any = _Writer()
    catalog: Any = SimpleNamespace(changing=asyncio.Lock(), history=ImportHistory([]))
    retention = Retention(RetentionSettings(), store, writer, catalog, _NONE, SimpleNamespace(nodes={}), _NONE)  # type: ignore[arg-type]
    background = Background()
    background.start(retention.look(), "forgets what is old")
    await until(store.begun.is_set, "the merge")
    assert not store.is_over()
    ending = asyncio.create_task(background.stop())
    try:
        done, _ = await asyncio.wait([ending], timeout=0.2)
        assert not done
        assert store.is_over()
    finally:
        store.goes.set()
    await ending


class _Writer:
    async def run(self, call: Callable[[], object]) -> object:
        return call()


_NONE: Any = None
