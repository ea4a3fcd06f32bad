"""What a process that the command starts gets of its environment."""

from __future__ import annotations

import os
from pathlib import Path


def inherited_environment() -> dict[str, str]:
    """Our environment, without what holds for this process alone (see fasttree.command)."""
    return {name: value for name, value in os.environ.items() if name != "GRPC_ENABLE_FORK_SUPPORT"}


def process_environment() -> dict[str, str]:
    """Compiled kernels are kept between starts, whichever folder we were started in."""
    cache = os.environ.get("NUMBA_CACHE_DIR") or str(Path.home() / ".cache" / "ha-fasttree" / "numba")
    return {"NUMBA_CACHE_DIR": cache, "PYTHONUNBUFFERED": "1"}
