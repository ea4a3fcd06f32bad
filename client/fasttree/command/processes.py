"""What a process that the command starts gets of its environment."""

from __future__ import annotations

import os


def inherited_environment() -> dict[str, str]:
    """Our environment, without what holds for this process alone (see fasttree.command)."""
    return {name: value for name, value in os.environ.items() if name != "GRPC_ENABLE_FORK_SUPPORT"}


def process_environment() -> dict[str, str]:
    """What is set for every process beside what this one was given."""
    return {"PYTHONUNBUFFERED": "1"}
