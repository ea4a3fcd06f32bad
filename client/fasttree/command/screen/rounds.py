"""Something that is looked at again and again: redrawn on a terminal, a block of plain text in a pipe, a line of JSON.

One home for what all live commands promise: `--every` is from one beginning to the next, `--count` ends after so many,
q and Ctrl-C end at once, and whatever ends it, the terminal is as it was and shows what was seen last.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import click

from fasttree.command.output import print_json_line
from fasttree.command.ranges import COUNT, SecondsRange
from fasttree.command.screen.drawing import Screen
from fasttree.command.screen.keys import pressed
from fasttree.command.screen.styled import Line, Style, Text, print_lines

EVERY_S = 2.0
EXIT_TERMINATED = 143


class Round(NamedTuple):
    """What one look found."""

    json: Mapping[str, Any]
    lines: Sequence[Line]


class Look(Protocol):
    """Looks once. Raises only what ends the command."""

    async def __call__(self) -> Round: ...


def rounds_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --every and --count."""
    every = click.option(
        "--every",
        "every_s",
        type=SecondsRange(0.1),
        metavar="SECONDS",
        help=f"From one look to the next; {EVERY_S:g} where not given.",
    )
    return every(click.option("--count", type=COUNT, help="Ends after so many looks.")(command))


async def look_again(
    look: Look, every_s: float, count: int | None, *, as_json: bool, first: Round | None = None
) -> bool:
    """Looks and shows until it is ended; returns whether that was by `count`. `first`: is drawn until
    the first look."""
    on_screen = not as_json and sys.stdout.isatty()
    last: Round | None = None
    with ExitStack() as until_then:
        until_then.callback(lambda: _leave_behind(last) if on_screen else None)
        ended = until_then.enter_context(pressed("q")) if on_screen else asyncio.Event()
        screen = until_then.enter_context(Screen(sys.stdout)) if on_screen else None
        if screen is not None:
            until_then.enter_context(_resized(lambda: screen.draw(_framed(last, every_s)) if last else None))
            if first is not None:
                screen.draw(_framed(first, every_s))
        shown = 0
        while True:
            begun_s = time.monotonic()
            found = await _unless(ended, look())
            if found is None:
                return False
            last = found
            shown += 1
            _show(last, screen, every_s, as_json=as_json)
            if shown == count:
                return True
            if await _unless(ended, _pause(max(0.0, begun_s + every_s - time.monotonic()))) is None:
                return False


def _show(found: Round, screen: Screen | None, every_s: float, *, as_json: bool) -> None:
    if as_json:
        print_json_line({"at": _now(), **found.json})
        sys.stdout.flush()
    elif screen is not None:
        screen.draw(_framed(found, every_s))
    else:
        print_lines([[Text(_now())], *found.lines, [Text("")]])


def _leave_behind(last: Round | None) -> None:
    if last is not None:
        print_lines(last.lines)


def _framed(found: Round, every_s: float) -> list[Line]:
    return [*found.lines, [Text("")], [Text(f"{_now()} · every {every_s:g} s · q ends", Style.FAINT)]]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


async def _pause(pause_s: float) -> bool:
    await asyncio.sleep(pause_s)
    return True


async def _unless(ended: asyncio.Event, work: Awaitable[Any]) -> Any:
    """What comes of the work; None where it was ended before."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(ended.wait())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


@contextmanager
def _resized(draw: Callable[[], object]) -> Iterator[None]:
    """The terminal has another size, or wants the process to end: it is drawn anew, or given back first."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    terminated = False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        if task is not None:
            task.cancel()

    loop.add_signal_handler(signal.SIGWINCH, draw)
    for wish in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(wish, terminate)
    try:
        yield
    except asyncio.CancelledError:
        if not terminated:
            raise
        raise SystemExit(EXIT_TERMINATED) from None
    finally:
        for wish in (signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(wish)
