"""Runs scenario files: commands in, what the core does out, as text that a reader can check.

Each core has a folder: its files, and a test beside them with the table that the driver reads and writes them by.

A file holds blocks, parted by blank lines: lines that begin with `#` tell why; then commands, a line each; a line
`----`; then what came of them. The commands, with times in seconds:

    start NAME=VALUE …      what the core is made with; before anything else, and only where it differs from the table
    at 2.5 EVENT            the time is 2.5, and this happens; without an event only time passes
    EVENT                   this happens, at the same time as what was before
    sleep                   time goes on to the core's `deadline_s`
    due                     tells that deadline

EVENT is the event's class and its fields (`language.py`), or a short form of the core's own (see its table). What comes
out: each action, a line each, or the error that was raised; then, behind `=`, the core's state.

After each command the driver calls `validate()`, and holds the core to its `deadline_s`: before that time `Tick` does
nothing, and once it has come, the next one is later.

`REWRITE=1 pytest tests/scenarios` writes the files anew from what the cores do now; read the difference then.
"""

from __future__ import annotations

import copy
import difflib
import math
import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from services.shared.cores import Core, Tick, TimelessCore
from tests.scenarios.language import UnreadableError, read, write, write_value

StartT = TypeVar("StartT")
CoreT = TypeVar("CoreT", bound=Core[Any, Any])
TimelessT = TypeVar("TimelessT", bound=TimelessCore[Any, Any])


@dataclass(frozen=True, kw_only=True)
class Table(Generic[StartT, CoreT]):
    """What the driver has to know of one core."""

    #: What the core is made with where a file says nothing else; a dataclass, whose fields `start` sets.
    start: StartT
    make: Callable[[StartT], CoreT]
    #: The classes of its events.
    events: tuple[type[Any], ...]
    #: The core's state in a line or more, at a time.
    state: Callable[[CoreT, float], str]
    #: Errors that an event may raise by the core's rules.
    errors: tuple[type[Exception], ...] = ()
    #: Short forms: makes an event of words, by what the core is at; None where the words are not one.
    short: Callable[[list[str], CoreT], object | None] = lambda words, core: None
    #: Another text for an action than the plain one; None: the plain one.
    say: Callable[[Any], str | None] = lambda action: None


class Timeless(Generic[TimelessT]):
    """A core in which nothing waits, as one that is told the time all the same."""

    deadline_s: float | None = None

    def __init__(self, core: TimelessT) -> None:
        self.core = core

    def handle(self, event: Any, now_s: float) -> list[Any]:
        """Time alone does nothing."""
        return [] if isinstance(event, Tick) else self.core.handle(event)

    def validate(self) -> None:
        """The core's own."""
        self.core.validate()


@dataclass(frozen=True)
class Block:
    """Comments, commands, and what is to come of them."""

    comments: list[str]
    commands: list[str]
    expected: list[str]

    @classmethod
    def read(cls, text: str) -> Block:
        lines = text.split("\n")
        parting = lines.index("----") if "----" in lines else len(lines)
        comments = [line for line in lines[:parting] if line.startswith("#")]
        commands = lines[len(comments) : parting]
        if any(line.startswith("#") for line in commands) or (commands and parting == len(lines)):
            raise UnreadableError(f"a block is comments, then commands, then a line ----: {lines[0]!r}")
        return cls(comments, commands, lines[parting + 1 :])

    def text(self, came: list[str]) -> str:
        """The block as it has to be where this is what came."""
        return "\n".join([*self.comments, *([*self.commands, "----"] if self.commands else []), *came])


def replay(text: str, table: Table[StartT, CoreT]) -> str:
    """The file's text as it would be if it told what the core does now."""
    scenario = Scenario(table)
    blocks = [Block.read(block) for block in text.strip().split("\n\n")]
    return "\n\n".join(block.text(list(scenario.run(block.commands))) for block in blocks) + "\n"


def of_folder(test_file: str, table: Table[StartT, CoreT]) -> Callable[[Path], None]:
    """A test for each scenario file beside `test_file`."""

    files = sorted(Path(test_file).parent.glob("*.txt"))
    assert files, f"no scenario file stands beside {test_file}"

    @pytest.mark.parametrize("path", files, ids=lambda path: path.stem)
    def test(path: Path) -> None:
        written = path.read_text()
        came = replay(written, table)
        if came == written:
            return
        if os.environ.get("REWRITE"):
            path.write_text(came)
            return
        lines = difflib.unified_diff(
            written.split("\n"), came.split("\n"), path.name, "what the core does", lineterm=""
        )
        pytest.fail("\n".join(lines), pytrace=False)

    return test


def hold_to_deadline(core: Core[Any, Any], now_s: float) -> None:
    """A shell that sleeps until `deadline_s` misses nothing, and is not woken in vain for ever.

    Raises AssertionError where that does not hold. The core stays as it is.
    """
    deadline_s = core.deadline_s
    until_s = now_s + 1e6 if deadline_s is None else math.nextafter(deadline_s, -math.inf)
    if until_s >= now_s:
        early = copy.deepcopy(core).handle(Tick(), until_s)
        assert not early, f"at {now_s} it waits until {deadline_s}, yet before that does {early}"
    if deadline_s is not None:
        sleeper, woken_s = copy.deepcopy(core), max(deadline_s, now_s)
        sleeper.handle(Tick(), woken_s)
        assert sleeper.deadline_s is None or sleeper.deadline_s > woken_s, f"nothing ends its wait until {deadline_s}"


class Scenario(Generic[StartT, CoreT]):
    """One core, driven by the commands of one file."""

    def __init__(self, table: Table[StartT, CoreT]) -> None:
        self._table = table
        self._by_name = {kind.__name__: kind for kind in table.events}
        self._start = table.start
        self._core: CoreT | None = None
        self._now_s = 0.0

    @property
    def core(self) -> CoreT:
        """The core, made when the first command needs it."""
        if self._core is None:
            self._core = self._table.make(self._start)
        return self._core

    def run(self, commands: list[str]) -> Iterator[str]:
        """What comes of a block's commands, a line each."""
        for command in commands:
            yield from self._run(shlex.split(command))
        if self._core is not None:
            yield from (f"= {line}" for line in self._table.state(self.core, self._now_s).split("\n"))

    def _run(self, words: list[str]) -> Iterator[str]:
        match words:
            case ["start", *values]:
                if self._core is not None:
                    raise UnreadableError("the core has begun")
                self._start = read(values, type(self._start), self._start)
            case ["due"]:
                yield f"due {_moment(self.core.deadline_s)}"
            case ["sleep"]:
                if self.core.deadline_s is None:
                    raise UnreadableError("the core waits for nothing")
                self._now_s = self.core.deadline_s
                yield f"at {_moment(self._now_s)}"
                yield from self._tell(Tick())
            case ["at", time_s, *event]:
                self._now_s = float(time_s)
                yield from self._tell(self._event(event) if event else Tick())
            case event:
                yield from self._tell(self._event(event))

    def _event(self, words: list[str]) -> object:
        event = self._table.short(words, self.core)
        if event is not None:
            return event
        kind = self._by_name.get(words[0])
        if kind is None:
            raise UnreadableError(f"no event is named {words[0]!r}; there are {', '.join(self._by_name)}")
        return read(words[1:], kind)

    def _tell(self, event: object) -> Iterator[str]:
        try:
            for action in self.core.handle(event, self._now_s):
                yield self._table.say(action) or write(action)
        except self._table.errors as error:
            yield from f"raises {type(error).__name__}: {error}".split("\n")
        self.core.validate()
        hold_to_deadline(self.core, self._now_s)


def _moment(time_s: float | None) -> str:
    return "never" if time_s is None else write_value(time_s)
