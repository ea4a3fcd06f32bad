"""An event loop of asyncio in a world's virtual time, for one life of a process.

What is ready runs in order, within one step of the world. A process that stands still runs none of it; one that dies
has its tasks cancelled, as far as the machine that is gone could tell: what they still ask for is never done. Threads
are calls: what goes on in one is done at once.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVarTuple

from tests.simulator.world import Process

_Ts = TypeVarTuple("_Ts")


class VirtualLoop(asyncio.AbstractEventLoop):
    """What tasks, timeouts, locks and threads need of a loop, and nothing else."""

    def __init__(self, process: Process) -> None:
        self._process, self._life = process, process.life
        self._ready: deque[asyncio.Handle] = deque()
        self._is_planned = self._is_running = self.is_over = False
        self._tasks: set[asyncio.Task[Any]] = set()
        #: What a task ended with, to be raised out of the world's step.
        self._failures: list[BaseException] = []

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begins a task; what it fails with comes out of the world."""
        task = self.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failures.append(error)

    def end(self) -> None:
        """The process has died: every task is cancelled."""
        self.is_over = True
        for task in list(self._tasks):
            task.cancel()
        self._run_ready()
        self._tasks.clear()

    # ---- what asyncio calls

    def time(self) -> float:
        return self._process.clock.now()

    def get_debug(self) -> bool:
        return False

    def call_soon(self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        if not self._is_planned and not self._is_running:
            self._is_planned = True
            self._process.world.after(0.0, self._process.run, self._life, self._run_ready, ())
        return handle

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._process.timer(when - self.time(), self._due, timer)
        return timer

    def call_later(
        self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, _handle: asyncio.TimerHandle) -> None:
        """It comes, and does nothing."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def run_in_executor(self, _executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What nobody else would hear of; a future that nobody asked for any more is no fault."""
        if "exception was never retrieved" not in context.get("message", ""):
            self._failures.append(context.get("exception") or RuntimeError(context.get("message", "")))

    # ---- the world's side

    def _due(self, timer: asyncio.TimerHandle) -> None:
        if not timer.cancelled():
            self._ready.append(timer)
            self._run_ready()

    def _run_ready(self) -> None:
        self._is_planned = False
        if self._is_running:
            return  # it is under way, and comes to that too
        before = events._get_running_loop()
        self._is_running = True
        events._set_running_loop(self)
        try:
            while self._ready:
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            self._is_running = False
            events._set_running_loop(before)
        if self._failures:
            raise self._failures.pop(0)
