"""The drill that is not undone yet, in a file: written before it changes anything, removed once all is as it was."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import IO, Final

import msgspec

from fasttree.client.drill.drill import Unfinished
from fasttree.client.drill.receipt import DrillError
from services.shared.domain.sentences import system_words
from services.shared.files.durable import remove_durably, write_durably
from services.shared.files.state_folder import lock_folder
from services.shared.files.threads import in_thread
from services.shared.forms import Form
from services.shared.serving.process import StartupError

logger = logging.getLogger(__name__)
_NAME: Final = "drill.json"
_BYTES_MAX: Final = 4_096


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    primary: str
    begun_ms: int


_KEPT: Form[_Kept] = Form(_Kept)


class RecordDamagedError(Exception):
    """What is written down can't be read: one line, with the mend."""


class Journal:
    """Of one console, or one command: its folder is its own while it runs. Blocks; raises StartupError where the folder
    can't be."""

    def __init__(self, folder: Path) -> None:
        self._lock: IO[str] = lock_folder(folder)
        self._file = folder / _NAME
        #: What is not undone, and when it was begun (ms of the wall clock); None: nothing.
        self.unfinished: tuple[Unfinished, int] | None = None
        #: Why that is not known; empty where it is.
        self.damage = ""
        try:
            self.unfinished = _read(self._file)
        except RecordDamagedError as error:
            self.damage = str(error)
            logger.error("%s", error)
        self._writing = asyncio.Lock()

    async def begun(self, drill: Unfinished, begun_ms: int) -> None:
        """Before the drill changes anything. Raises DrillError, and then it may not."""
        kept = msgspec.json.encode(_Kept(name=drill.name, primary=drill.primary, begun_ms=begun_ms))
        try:
            async with self._writing:
                await in_thread(write_durably, self._file, kept)
        except OSError as error:
            told = system_words(error)
            raise DrillError(
                f"what would have to be undone can't be written down: {told}; nothing was changed"
            ) from None
        self.unfinished, self.damage = (drill, begun_ms), ""

    async def undone(self) -> None:
        """All is as it was."""
        self.unfinished = None
        try:
            async with self._writing:
                await in_thread(remove_durably, self._file)
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning(
                "the drill is undone; its record %s stays, and will be undone again: %s",
                self._file,
                system_words(error),
            )

    def close(self) -> None:
        """The folder may be another's."""
        self._lock.close()


def left_in(folder: Path) -> tuple[Unfinished, int] | None:
    """What one that is gone left undone there; None: nothing, or it runs yet. Blocks. Raises RecordDamagedError."""
    if not os.path.exists(folder / _NAME):  # another user's may not be looked at
        return None
    try:
        with lock_folder(folder, shared=True):
            return _read(folder / _NAME)
    except StartupError:
        return None


def _read(path: Path) -> tuple[Unfinished, int] | None:
    try:
        with path.open("rb") as file:
            kept = _KEPT.of_json(file.read(_BYTES_MAX))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, msgspec.DecodeError) as error:
        told = system_words(error) if isinstance(error, OSError) else error
        raise RecordDamagedError(
            f"what a drill left undone can't be read in {path} ({told}): look for a member drill-… and at who is "
            "primary, then remove the file"
        ) from None
    return Unfinished(kept.name, kept.primary), kept.begun_ms
