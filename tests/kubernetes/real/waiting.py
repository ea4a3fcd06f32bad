"""Waiting for what a cluster, or a program in an image, has to come to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

#: Of each thing that is waited for: a matter of seconds on a machine that has nothing else to do.
WAIT_S = 240.0


def until(what: str, condition: Callable[[], Any]) -> Any:
    """What the condition gives once it holds."""
    deadline_s = time.monotonic() + WAIT_S
    while not (held := condition()):
        assert time.monotonic() < deadline_s, f"waited {WAIT_S:g} s: {what}"
        time.sleep(0.1)
    return held
