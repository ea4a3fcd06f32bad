"""What of a watched CBLDATATRAX is in force. A core in which nothing waits for time.

A file is judged once two looks in a row find the same: an editor may be in the middle of writing it. Then it is taken
whole or refused whole. A file with a fault changes nothing; of a good one, every key of our environment and those that
all share are taken in one step. What has an effect at once is told as such; of the rest it is told at which start it
will have one, until the file says again what it said at our own start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from services.datatrax.cbldatatrax.configuration import Configuration, Value
from services.datatrax.cbldatatrax.keys import NEXT_START
from services.datatrax.cbldatatrax.lines import Fault


@dataclass(frozen=True, slots=True)
class Looked:
    """What lies there now."""

    #: The same for the same content, or for the same reason why there is none.
    seen: str
    #: None where it can't be read.
    configuration: Configuration | None
    #: All that is wrong with it, beside the host file too.
    faults: tuple[Fault, ...]
    #: Its text; empty where it can't be read.
    text: str = ""


class Change(NamedTuple):
    """One key that says something else."""

    #: 0: no line says it any more, so it has its default.
    line: int
    name: str
    before: str
    after: str
    #: As in `Key.when`.
    when: str


@dataclass(frozen=True, slots=True)
class Take:
    """The file is in force from now on; these are the changes against what was in force."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """The file is not: what was in force stays."""

    faults: tuple[Fault, ...]


Action = Take | Refuse


class Following:
    """One file's values for one environment."""

    def __init__(self, environment: str, first: Looked) -> None:
        """`first`: is good, and has that environment."""
        assert first.configuration is not None
        self._environment = environment
        #: What we were started with: that is what keys which wait for a start have in force.
        self._started = first.configuration
        #: What the last good file says.
        self.in_force = first.configuration
        #: The last look, and what was last judged.
        self._last = self._judged = first.seen
        #: Why the file as it lies there is not in force; none: it is.
        self.faults: tuple[Fault, ...] = ()

    @property
    def waiting(self) -> list[Change]:
        """Keys that say something else than at our start, and wait for another one."""
        return [each for each in self._changes(self._started, self.in_force) if each.when.startswith(NEXT_START)]

    def handle(self, event: Looked) -> list[Action]:
        """Takes a look in."""
        is_settled, self._last = event.seen == self._last, event.seen
        if not is_settled or event.seen == self._judged:
            return []
        self._judged = event.seen
        self.faults = event.faults or tuple(self._missing(event.configuration))
        if self.faults or event.configuration is None:
            return [Refuse(self.faults)]
        before, self.in_force = self.in_force, event.configuration
        return [Take(tuple(self._changes(before, self.in_force)))]

    def validate(self) -> None:
        """What is in force has the environment, and no fault of its own."""
        assert self._environment in self.in_force.environments
        assert not self.in_force.faults

    def _missing(self, configuration: Configuration | None) -> Iterator[Fault]:
        if configuration is not None and self._environment not in configuration.environments:
            name = self.in_force.environments[self._environment].values["enabled-primary"].name
            yield Fault(
                0,
                f"nothing is said of {self._environment}, whose service this is: write {name}=N to take it out of use",
            )

    def _changes(self, before: Configuration, after: Configuration) -> Iterator[Change]:
        old, new = _values(before, self._environment), _values(after, self._environment)
        for key, value in sorted(new.items(), key=lambda item: item[1].line):
            if value.text != old[key].text:
                yield Change(value.line, value.name, old[key].text, value.text, value.key.when)


def _values(configuration: Configuration, environment: str) -> dict[str, Value]:
    return configuration.environments[environment].values | configuration.common
