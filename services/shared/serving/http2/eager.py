"""Coroutines that run at once: a task takes over where one first has to wait, and costs nothing where none has to.

Python 3.12 has eager tasks for this; here it is for 3.11 too, by what asyncio offers to those who write tasks of
their own (`_enter_task`, `_leave_task`).
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any


class Eager:
    """One such coroutine. While it runs at once, asyncio takes this for the current task: what is asked of it then, as
    `asyncio.timeout` does, is asked of the task once there is one."""

    __slots__ = ("_asked", "task")

    def __init__(self) -> None:
        #: Set once the coroutine has had to wait.
        self.task: asyncio.Task[None] | None = None
        self._asked = 0

    def run(self, coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> bool:
        """Whether the coroutine has ended; an exception of it comes from here. Otherwise `task` has it.

        To be called from a callback of the loop, not from a task."""
        context = copy_context()
        _enter_task(loop, self)  # type: ignore[arg-type]
        try:
            waits_for = context.run(coroutine.send, None)
        except StopIteration:
            return True
        finally:
            _leave_task(loop, self)  # type: ignore[arg-type]
        self.task = loop.create_task(_Rest(coroutine, waits_for), context=context)
        for _ in range(self._asked):
            self.task.cancel()
        return False

    def cancel(self, msg: Any = None) -> bool:
        """As a task's."""
        if self.task is not None:
            return self.task.cancel(msg)
        self._asked += 1
        return True

    def uncancel(self) -> int:
        """As a task's."""
        if self.task is not None:
            return self.task.uncancel()
        self._asked -= 1
        return self._asked

    def cancelling(self) -> int:
        """As a task's."""
        return self._asked if self.task is None else self.task.cancelling()

    def done(self) -> bool:
        """As a task's."""
        return self.task is not None and self.task.done()

    def get_name(self) -> str:
        """As a task's."""
        return "a call" if self.task is None else self.task.get_name()

    def add_done_callback(self, call: Callable[[Any], object]) -> None:
        """As a task's."""
        if self.task is None:
            raise RuntimeError("a call that has not waited yet can't be waited for")
        self.task.add_done_callback(call)


class _Rest(Coroutine[Any, Any, None]):
    """A coroutine from where it waits on, as a task wants it: its first step gives what the coroutine waits for."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for
        self._begun = False

    def send(self, value: Any) -> Any:
        if self._begun:
            return self._coroutine.send(value)
        self._begun = True
        return self._waits_for

    def throw(self, *error: Any) -> Any:
        if not self._begun:
            self._begun = True
            # Cancelled before the first step: as a task does it, what is waited for is cancelled, and tells.
            if (
                isinstance(error[0], asyncio.CancelledError)
                and self._waits_for is not None
                and self._waits_for.cancel()
            ):
                return self._waits_for
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Any:
        return self._coroutine.__await__()
