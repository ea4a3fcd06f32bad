"""Every target, by its name."""

from __future__ import annotations

from tests.fuzz.target import Target
from tests.fuzz.targets import calls, datatrax, files, http2, security, settings

TARGETS: dict[str, Target] = {
    each.name: each for module in (http2, calls, files, security, settings, datatrax) for each in module.TARGETS
}
