"""The one thread that writes the log: pushes that arrive together share one fsync.

Everything that changes the store goes through this thread, in order. While it waits for the disk, further pushes
gather; the next commit takes them all, up to a limit. So a lone push waits for one fsync, and a flood pays one for
thousands.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from services.pusher.log.frames import Run
from services.pusher.log.store import Appended, LogDamagedError, LogStore

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

#: A thread that computes lets others in after this time; the default of 5 ms would be the writer's delay after each
#: fsync.
_SWITCH_INTERVAL_S = 0.0005


@dataclass(slots=True)
class _Push:
    update_ids: Sequence[str]
    contents: Sequence[bytes]
    done: asyncio.Future[Appended]


@dataclass(slots=True)
class _Task:
    call: Callable[[], Any]
    done: asyncio.Future[Any]


@dataclass(slots=True)
class _Outcome:
    """Of one commit: what to tell whom."""

    run: Run | None = None
    results: list[tuple[asyncio.Future[Any], Any]] = field(default_factory=list)
    errors: list[tuple[asyncio.Future[Any], Exception]] = field(default_factory=list)


class LogWriter:
    """Writes to a store on a thread of its own.

    Args:
        store: Nobody else may write to it.
        group_updates_max: Most updates in one commit.
        on_run: Gets each new run on the event loop, in order, before the pushes in it are answered.
    """

    def __init__(self, store: LogStore, group_updates_max: int, on_run: Callable[[Run], None]) -> None:
        self._store = store
        self._group_updates_max = group_updates_max
        self._on_run = on_run
        self._queue: SimpleQueue[_Push | _Task | None] = SimpleQueue()
        self._left_over: _Push | _Task | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        #: Commits of updates so far; with the updates in them, says how well fsyncs are shared.
        self.commits = 0

    def start(self) -> None:
        """Begins."""
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        self._thread.start()

    def append(self, update_ids: Sequence[str], contents: Sequence[bytes]) -> asyncio.Future[Appended]:
        """Makes updates durable, after those of earlier calls. The future raises as `LogStore.append`."""
        done: asyncio.Future[Appended] = self._loop.create_future()
        self._queue.put(_Push(update_ids, contents, done))
        return done

    async def run(self, call: Callable[[], Result]) -> Result:
        """Runs something else that writes to the store, in its turn."""
        done: asyncio.Future[Result] = self._loop.create_future()
        self._queue.put(_Task(call, done))
        return await done

    async def stop(self) -> None:
        """Ends the thread once everything that was asked for is done."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    # -- on the thread

    def _run(self) -> None:
        while True:
            first = self._left_over or self._queue.get()
            self._left_over = None
            if first is None:
                return
            outcome = self._do_task(first) if isinstance(first, _Task) else self._commit(self._gather(first))
            self._loop.call_soon_threadsafe(self._tell, outcome)
            with contextlib.suppress(Exception):
                self._store.tend()

    def _gather(self, first: _Push) -> list[_Push]:
        """The first push with those that wait behind it."""
        group, updates = [first], len(first.update_ids)
        while updates < self._group_updates_max:
            try:
                following = self._queue.get_nowait()
            except Empty:
                break
            if following is None:
                self._queue.put(None)
                break
            if isinstance(following, _Task):
                self._left_over = following
                break
            group.append(following)
            updates += len(following.update_ids)
        return group

    def _do_task(self, task: _Task) -> _Outcome:
        try:
            return _Outcome(results=[(task.done, task.call())])
        except Exception as error:
            return _Outcome(errors=[(task.done, error)])

    def _commit(self, group: list[_Push]) -> _Outcome:
        update_ids: Sequence[str] = group[0].update_ids
        contents: Sequence[bytes] = group[0].contents
        if len(group) > 1:
            update_ids = [update_id for push in group for update_id in push.update_ids]
            contents = [content for push in group for content in push.contents]
        try:
            appended = self._store.append(update_ids, contents)
        except LogDamagedError as error:
            if len(group) == 1:
                return _Outcome(errors=[(group[0].done, error)])
            # Only the push whose id meets the damaged record must fail. Each alone, then.
            return self._commit_alone(group)
        except Exception as error:
            return _Outcome(errors=[(push.done, error) for push in group])
        self.commits += 1
        return _Outcome(run=appended.run, results=self._share_out(group, appended))

    def _commit_alone(self, group: list[_Push]) -> _Outcome:
        for push in group[:-1]:
            self._loop.call_soon_threadsafe(self._tell, self._commit([push]))
        return self._commit(group[-1:])

    def _share_out(self, group: list[_Push], appended: Appended) -> list[tuple[asyncio.Future[Any], Any]]:
        """Each push's own part of what became of the group."""
        if len(group) == 1:
            return [(group[0].done, appended)]
        shares: list[tuple[asyncio.Future[Any], Any]] = []
        offset = 0
        for push in group:
            end = offset + len(push.update_ids)
            duplicates = frozenset(at - offset for at in appended.duplicates if offset <= at < end)
            conflicts = {at - offset: position for at, position in appended.conflicts.items() if offset <= at < end}
            shares.append((push.done, Appended(None, appended.positions[offset:end], duplicates, conflicts)))
            offset = end
        return shares

    # -- on the event loop

    def _tell(self, outcome: _Outcome) -> None:
        # Callers go on in a later turn of the loop, after `on_run`; set first, they go on before the fan-out's tasks.
        for done, result in outcome.results:
            if not done.done():  # the caller may have gone
                done.set_result(result)
        if outcome.run is not None:
            self._on_run(outcome.run)
        for done, error in outcome.errors:
            if not done.done():
                done.set_exception(error)
