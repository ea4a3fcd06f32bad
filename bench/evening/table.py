"""What was told, as a table for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_WHO: Final = ("page", "alerts", "status", "doctor")


def lines_of(faults: list[dict[str, Any]]) -> Iterator[str]:
    """In Markdown, a row a fault."""
    yield "| fault | page | alerts | `fasttree status` | `fasttree doctor` | an order's trace meanwhile | whole again |"
    yield "|---|---|---|---|---|---|---|"
    for one in faults:
        if one.get("left_out"):
            yield f"| {one['fault']} | left out: {one['left_out']} | | | | | |"
            continue
        cells = [_cell(one["told"].get(who, {})) for who in _WHO]
        whole = f"{one['whole_again_s']:.0f} s" if "whole_again_s" in one else "by hand"
        yield f"| {' | '.join([one['fault'], *cells, _plain(one['trace']), whole])} |"


def _cell(after_s: dict[str, float]) -> str:
    if not after_s:
        return "nothing"
    return "; ".join(
        f"{seconds:.1f} s: {_plain(text)}" for text, seconds in sorted(after_s.items(), key=lambda one: one[1])
    )


def _plain(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")
