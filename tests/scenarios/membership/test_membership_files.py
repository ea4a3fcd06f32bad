"""The members of a headless Service. Short forms of its events:

listed a-0 a-1 | -      the API server lists one slice of these pods; `-`: with none
slice NAME a-2 …        a slice is there, or is otherwise
gone NAME               a slice is gone
ports 6000 6001 a-0 …   the slice that was listed has these ports now
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from services.shared.domain.addresses import Host
from services.shared.membership.endpoints import (
    EndpointEvent,
    Members,
    ServiceMembers,
    Slice,
    SliceChanged,
    SliceGone,
    SlicesListed,
)
from tests.scenarios.driver import Table, of_folder


@dataclass(frozen=True)
class Start:
    """How long one that is away stays."""

    linger_s: float = 120.0


def slice_named(name: str, pods: list[str]) -> Slice:
    return Slice(name, tuple(Host(pod, 50100, 50201) for pod in pods if pod != "-"))


def short(words: list[str], core: ServiceMembers) -> object | None:
    match words:
        case ["listed", *pods]:
            return SlicesListed((slice_named("s", pods),))
        case ["slice", name, *pods]:
            return SliceChanged(slice_named(name, pods))
        case ["ports", report, instant, *pods]:
            return SliceChanged(Slice("s", tuple(Host(pod, int(report), int(instant)) for pod in pods)))
        case ["gone", name]:
            return SliceGone(name)
    return None


def names(hosts: tuple[Host, ...]) -> str:
    return " ".join(host.host if host.report_port == 50100 else host.report_address for host in hosts) or "none"


def say(action: Any) -> str | None:
    return f"members {names(action.hosts)}" if isinstance(action, Members) else None


def state(core: ServiceMembers, now_s: float) -> str:
    return f"{names(core.hosts)}, next leaves {'never' if core.deadline_s is None else f'at {core.deadline_s:g}'}"


TABLE = Table(
    start=Start(),
    make=lambda start: ServiceMembers(start.linger_s),
    events=get_args(EndpointEvent),
    state=state,
    short=short,
    say=say,
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
