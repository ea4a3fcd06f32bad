"""Waiting for what has to come, for as long as the slowest machine may take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

WAIT_S = 60.0


async def until(condition: Callable[[], Any], what: str) -> None:
    """Returns once the condition holds; says what it waited for when that does not come."""
    deadline_s = time.monotonic() + WAIT_S
    while True:
        held = condition()
        if isinstance(held, Awaitable):
            held = await held
        if held:
            return
        assert time.monotonic() < deadline_s, f"waited {WAIT_S:g} s for {what}"
        await asyncio.sleep(0.01)


def blocking_until(condition: Callable[[], Any], what: str) -> None:
    """As `until`, for tests without an event loop."""
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {WAIT_S:g} s for {what}"
        time.sleep(0.01)
