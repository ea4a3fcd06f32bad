"""The keys of this process: one set for all that it writes and reads, as it has one user and one umask."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from services.shared.files.sealed.errors import SealKeyError
from services.shared.files.sealed.settings import SealingSettings
from services.shared.security.stamps import Stamp, stamp

if TYPE_CHECKING:
    from services.shared.files.sealed.keys import Key, Keys

logger = logging.getLogger(__name__)

#: How often it is looked whether something still needs a key that the file has no more, in seconds; seldom where that
#: takes long, as where it goes through a large log.
NEEDS_EVERY_S: Final = 10.0
_SHARE_OF_TIME: Final = 0.01


class HandedKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a process for one that it starts, by a pipe between the two: what is wrong with the file meanwhile is
    nothing to either, and a key that was taken out of it opens for both."""

    #: The setting and the file, for people.
    place: str = ""
    #: As the file has them; empty: nothing is sealed.
    lines: list[str] = []
    seals: bool = True

    def __repr__(self) -> str:
        return f"HandedKeys({self.place!r})"


class _Process:
    keys: Keys | None = None
    settings = SealingSettings()
    #: Of the file, as it was when it was read.
    seen: tuple[Stamp, int] = ((0, 0, 0), 0)
    #: What was wrong with it then.
    problem = ""
    #: What it had when it was last good; this process alone has what else is in `keys`.
    in_file: Keys | None = None
    #: By folder, what tells which keys something there needs beside those.
    needs: ClassVar[dict[Path, Callable[[Path, Keys], set[str]]]] = {}
    #: What it lacks of those.
    lacking = ""


def begin_sealing(settings: SealingSettings) -> None:
    """From now on this process seals and opens by that file of keys, where one is named.

    Raises:
        SealKeyError: It can't be used.
    """
    _Process.settings = settings
    _Process.keys, _Process.problem, _Process.lacking = None, "", ""
    _Process.needs.clear()
    if settings.key_file:
        # What a process without keys need not load.
        from services.shared.files.sealed.keys import read_keys

        _Process.seen = _look(Path(settings.key_file))
        _Process.keys = _Process.in_file = read_keys(Path(settings.key_file))
        if settings.seals:
            logger.info("what is written to disk is sealed, by key %s", _Process.keys.first.key_id)
        else:
            logger.info("what is written to disk is clear; keys open what is sealed: %s", ", ".join(_Process.keys.ids))


def own_keys() -> Keys | None:
    """None: nothing is sealed here."""
    return _Process.keys


def own_sealing() -> SealingSettings:
    """Which file they are of, and how often it is looked at."""
    return _Process.settings


def keys_to_hand() -> HandedKeys:
    """For a process that this one starts."""
    if _Process.keys is None:
        return HandedKeys()
    return HandedKeys(place=_Process.keys.place, lines=_Process.keys.lines(), seals=_Process.settings.seals)


def seal_by(handed: HandedKeys) -> None:
    """From now on this process seals and opens by the keys of the one that has started it.

    Raises:
        SealKeyError: They are none.
    """
    _Process.settings = SealingSettings(seals=handed.seals)
    _Process.keys, _Process.problem = None, ""
    if handed.lines:
        from services.shared.files.sealed.keys import keys_of_lines

        _Process.keys = keys_of_lines(handed.lines, handed.place)


def sealing_problem() -> str:
    """Why the file of keys can't be used as it is now, or what it lacks, in one line; empty where all is well, or where
    there is none."""
    return _Process.problem or _Process.lacking


def watch_needs(folder: Path, lacking: Callable[[Path, Keys], set[str]]) -> None:
    """From now on a key is told that is taken out of the file while something in that folder needs it yet.

    Args:
        folder: A state folder.
        lacking: The ids of keys that something in a folder needs, and that are not among some. It blocks, and raises
            nothing.
    """
    _Process.needs[folder] = lacking


def key_to_seal() -> Key | None:
    """The one that seals now; None: nothing is sealed."""
    return _Process.keys.first if _Process.keys is not None and _Process.settings.seals else None


@contextlib.contextmanager
def keys_for_now(keys: Keys | None) -> Iterator[None]:
    """Other keys, until it is left: for tests."""
    before, _Process.keys = _Process.keys, keys
    try:
        yield
    finally:
        _Process.keys = before


async def follow_keys() -> None:
    """Takes what is written to the file, for as long as the process goes on. What was taken out of it opens what it
    sealed until the process ends; what can't be used is told, once, and changes nothing, and so is that it can be used
    again: until then the process would not start anew."""
    if not _Process.settings.key_file:
        return
    file = Path(_Process.settings.key_file)
    loop, next_s = asyncio.get_running_loop(), 0.0
    while True:
        await asyncio.sleep(_Process.settings.reload_s)
        now = await asyncio.to_thread(_look, file)
        if now != _Process.seen:
            _Process.seen, next_s = now, 0.0
            await asyncio.to_thread(_take, file)
        if (began_s := loop.time()) >= next_s:
            await asyncio.to_thread(_look_at_needs)
            # Where nothing needs one, nothing will: it seals no more.
            wait_s = max(NEEDS_EVERY_S, (loop.time() - began_s) / _SHARE_OF_TIME) if _Process.lacking else math.inf
            next_s = loop.time() + wait_s


def _look(file: Path) -> tuple[Stamp, int]:
    """Another one for another file, and for other rights: whose it is may be what is wrong with it."""
    try:
        found = os.stat(file)
    except OSError:
        return stamp(file), 0
    return stamp(file), found.st_ctime_ns


def _take(file: Path) -> None:
    from services.shared.files.sealed.keys import read_keys

    before = _Process.keys
    assert before is not None
    try:
        given = read_keys(file)
        keys = given.with_those_of(before)
    except SealKeyError as error:
        if str(error) != _Process.problem:
            logger.error("%s; goes on with key %s, and would not start anew", error, before.first.key_id)
        _Process.problem = str(error)
        return
    if _Process.problem:
        logger.info("sealing.key_file = %s can be used again", file)
    _Process.keys, _Process.in_file, _Process.problem = keys, given, ""
    if keys.first.key_id != before.first.key_id and _Process.settings.seals:
        logger.info("what is written to disk is sealed by key %s from now on", keys.first.key_id)


def _look_at_needs() -> None:
    """What stands in the file is known to be enough where it lacks nothing that this process has."""
    given, keys = _Process.in_file, _Process.keys
    lacking: set[str] = set()
    if given is not None and keys is not None and given.ids != keys.ids:
        for folder, look in list(_Process.needs.items()):
            lacking |= look(folder, given)
    text = ""
    if given is not None and lacking:
        named = ", ".join(sorted(lacking))
        text = f"{given.place}: it lacks key {named}, by which something is sealed yet: put the line back"
    if text and text != _Process.lacking:
        logger.error("%s; goes on with it, and would not start anew", text)
    if given is not None and _Process.lacking and not text:
        logger.info("%s has every key that something needs", given.place)
    _Process.lacking = text
