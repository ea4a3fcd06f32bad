"""The keys of this process: one set for all that it writes and reads, as it has one user and one umask."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from services.shared.files.sealed.errors import SealKeyError
from services.shared.files.sealed.settings import SealingSettings
from services.shared.security.stamps import Stamp, stamp

if TYPE_CHECKING:
    from services.shared.files.sealed.keys import Key, Keys

logger = logging.getLogger(__name__)


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


def begin_sealing(settings: SealingSettings) -> None:
    """From now on this process seals and opens by that file of keys, where one is named.

    Raises:
        SealKeyError: It can't be used.
    """
    _Process.settings = settings
    _Process.keys, _Process.problem = None, ""
    if settings.key_file:
        # What a process without keys need not load.
        from services.shared.files.sealed.keys import read_keys

        _Process.seen = _look(Path(settings.key_file))
        _Process.keys = read_keys(Path(settings.key_file))
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
    """Why the file of keys can't be used as it is now, in one line; empty where it can, or where there is none."""
    return _Process.problem


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
    while True:
        await asyncio.sleep(_Process.settings.reload_s)
        now = await asyncio.to_thread(_look, file)
        if now != _Process.seen:
            _Process.seen = now
            await asyncio.to_thread(_take, file)


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
        keys = read_keys(file).with_those_of(before)
    except SealKeyError as error:
        if str(error) != _Process.problem:
            logger.error("%s; goes on with key %s, and would not start anew", error, before.first.key_id)
        _Process.problem = str(error)
        return
    if _Process.problem:
        logger.info("sealing.key_file = %s can be used again", file)
    _Process.keys, _Process.problem = keys, ""
    if keys.first.key_id != before.first.key_id and _Process.settings.seals:
        logger.info("what is written to disk is sealed by key %s from now on", keys.first.key_id)
