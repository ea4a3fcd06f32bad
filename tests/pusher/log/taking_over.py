"""A trim or a merge of ids, held at one word of the active pusher's to the servers, while another pusher takes over."""

from __future__ import annotations

import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from services.pusher.log.ids.archive import MERGE_RUNS
from services.pusher.log.store import DeposedError, LogStore, LogStoreError
from tests.pusher.log.cutting import CuttingProxy
from tests.pusher.updates import ids_and_contents, orders
from tests.waiting import blocking_until

UPDATES: Final = 60
MORE: Final = 30
TRIMMED: Final = 10

Work = Callable[[LogStore], None]
#: What becomes of what was held: it arrives once another pusher writes, or it was lost with its process.
FATES: Final = ("late", "killed")


def trim(store: LogStore) -> None:
    assert store.trim(UPDATES, TRIMMED) == TRIMMED


def merge(store: LogStore) -> None:
    take_merged = store.merge_ids()
    assert take_merged is not None
    take_merged()


class Machines(ABC):
    """One log, and the machines of those who write it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: list[LogStore] = []
        folder.mkdir()

    @abstractmethod
    def _open(self, folder: Path, *, by_proxy: bool) -> LogStore:
        """The log as a process on a machine with that folder has it."""

    @abstractmethod
    def gone(self, folder: Path) -> Iterable[int] | None:
        """The position of each id in the runs that count, as a machine has them; None where that can't be seen."""

    @abstractmethod
    def left_over(self) -> object:
        """What the servers have of trimmed records and does not count; nothing, it should be."""

    @abstractmethod
    def left_on(self, folder: Path) -> object:
        """The same of a machine whose process has just opened the log."""

    def folder(self, machine: str) -> Path:
        folder = self._folder / machine
        folder.mkdir(exist_ok=True)
        return folder

    def open(self, machine: str, *, by_proxy: bool = False) -> LogStore:
        self._opened.append(self._open(self.folder(machine), by_proxy=by_proxy))
        return self._opened[-1]

    def keep_as_left(self, machine: str, kept: str) -> None:
        """What `kill -9` leaves of a machine's folder now, as another machine's."""
        shutil.copytree(self.folder(machine), self._folder / kept)

    def close(self) -> None:
        for store in self._opened:
            store.close()


def knows_each_once(store: LogStore, count: int) -> None:
    """Each id is told as a duplicate, with its position, and nothing else was stored."""
    again = store.append(*ids_and_contents(orders(0, count)))
    assert list(again.positions) == list(range(1, count + 1))
    assert again.run is None
    assert len(again.duplicates) == count
    assert store.ends().last == count


def taken_over_at(machines: Machines, proxy: CuttingProxy, work: Work, fate: str, words: int) -> bool:
    """The story, where the work waits after so many words. Returns whether it needs no more of them."""
    old = machines.open("old", by_proxy=True)
    old.claim(1, "old")
    for first in range(0, UPDATES, TRIMMED):
        old.append(*ids_and_contents(orders(first, TRIMMED)))
    for _ in range(MERGE_RUNS - (work is trim)):
        trim(old)
    new = machines.open("new")
    done = _held(old, work, proxy, words)
    is_over = not proxy.held.is_set()
    machines.keep_as_left("old", "as-left")

    new.claim(2, "new")
    was_trimmed = work is trim and new.ends().first > MERGE_RUNS * TRIMMED
    knows_each_once(new, UPDATES)
    new.append(*ids_and_contents(orders(UPDATES, MORE)))
    if fate == "late":
        proxy.let_go()
    else:
        proxy.lose()
    error = done()
    assert (error is None) == (is_over or was_trimmed)
    assert fate == "killed" or isinstance(error, DeposedError | None)

    knows_each_once(new, UPDATES + MORE)
    _goes_on(machines, "new", new)
    # On the machine that was left in the middle, by somebody who only reads; by the one that was deposed; by a new one.
    left = machines.open("as-left")
    assert left.find([f"order-{number}" for number in range(2 * UPDATES)]) == {
        f"order-{number}" for number in range(UPDATES + MORE)
    }
    proxy.down = False
    old.claim(3, "old")
    _goes_on(machines, "old", old)
    another = machines.open("another")
    another.claim(4, "another")
    _goes_on(machines, "another", another)
    for machine in ("new", "old", "as-left"):
        machines.open(machine)
        assert not machines.left_on(machines.folder(machine)), machine
    return is_over


def _held(old: LogStore, work: Work, proxy: CuttingProxy, words: int) -> Callable[[], LogStoreError | None]:
    """Begins the work, up to where it waits or is over; returns what waits for its end and returns its error."""
    ended: list[LogStoreError | None] = []

    def run() -> None:
        try:
            work(old)
        except LogStoreError as error:
            ended.append(error)
        else:
            ended.append(None)

    proxy.hold_after(words)
    working = threading.Thread(target=run)
    working.start()
    blocking_until(lambda: proxy.held.is_set() or not working.is_alive(), "a word that waits, or the end")

    def done() -> LogStoreError | None:
        working.join()
        return ended[0]

    return done


def _goes_on(machines: Machines, machine: str, store: LogStore) -> None:
    """Trims and merges come to their end, and then each id is in one place alone."""
    knows_each_once(store, UPDATES + MORE)
    for _ in range(2):  # what was left goes with trims
        store.trim(UPDATES + MORE, 3)
    while (take_merged := store.merge_ids()) is not None:
        take_merged()
    store.trim(UPDATES + MORE, 1)
    store.trim(UPDATES + MORE, 1)
    store.tend()
    knows_each_once(store, UPDATES + MORE)
    gone = machines.gone(machines.folder(machine))
    assert gone is None or sorted(gone) == list(range(1, store.ends().first))
    assert not machines.left_over()
