"""Every target, by its name."""

from __future__ import annotations

from tests.fuzz.target import Run, Target
from tests.fuzz.targets import calls, datatrax, files, http2, security, settings

TARGETS: dict[str, Target] = {
    each.name: each for module in (http2, calls, files, security, settings, datatrax) for each in module.TARGETS
}


def _all() -> Run:
    """Each of them, as an input's first byte says."""
    runs = [target.run() for target in TARGETS.values()]

    def run(data: bytes) -> None:
        if data:
            runs[data[0] % len(runs)](data[1:])

    return run


def _seeds_of_all() -> list[bytes]:
    return [bytes((place,)) + seed for place, target in enumerate(TARGETS.values()) for seed in target.seeds()]


#: All of them in one process, for a short run.
ALL = Target("all", _all, (), _seeds_of_all, max(target.length_max for target in TARGETS.values()))
