"""What every key of a configuration comes to, and where from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from services.datatrax.cbldatatrax.configuration import Configuration, Value


class Explained(NamedTuple):
    """One key, of one environment or of all."""

    name: str
    value: str
    #: "line 7", or "default"; and the line where it stands behind a `#`.
    source: str
    effect: str
    #: When a change of it does.
    when: str
    meaning_2016: str


def explain(configuration: Configuration, environment: str = "") -> Iterator[Explained]:
    """Each key in the order of docs/datatrax.md; `environment`: those of it alone, beside what has none."""
    for each in configuration.environments.values():
        if environment in ("", each.name):
            yield from map(_explained, each.values.values())
    yield from map(_explained, configuration.common.values())


def _explained(value: Value) -> Explained:
    source = f"line {value.line}" if value.line else "default"
    if value.commented_line:
        source += f" (behind a # at line {value.commented_line})"
    return Explained(value.name, value.text, source, value.key.effect, value.key.when, value.key.meaning)
