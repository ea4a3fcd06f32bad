"""Every target, by its name."""

from __future__ import annotations

from tests.fuzz.target import Target
from tests.fuzz.targets import (
    calls,
    coordinator,
    datatrax,
    files,
    http2,
    messages,
    pusher,
    security,
    settings,
    stored,
    treenode,
)

_MODULES = (http2, calls, coordinator, pusher, treenode, messages, files, security, settings, stored, datatrax)
TARGETS: dict[str, Target] = {each.name: each for module in _MODULES for each in module.TARGETS}
