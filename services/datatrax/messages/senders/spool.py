"""Letters as lines of a file, for a program that takes them from there: `NAME.jsonl` by the message's id.

    {"key": "autumn-2026/10420", "message_id": "autumn-2026", "member_id": "10420", "channel": "voice", "text": "…",
     "columns": {"phone": "…"}}

Each on one line. It is on disk before the letter counts as sent, and stands there once: after a crash the file itself
says which letters it has. It is whole when `NAME.jsonl.done` lies beside it. Whoever takes it away before that has
to tell letters by their keys.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec

from services.datatrax.messages.events import Word
from services.datatrax.messages.senders.sender import Answer, Letter
from services.shared.config.bounds import OptionalPath
from services.shared.domain.sentences import system_words
from services.shared.files.durable import make_folder, sync_folder, write_durably

_LINES: Final = ".jsonl"
_DONE: Final = ".done"
#: Far longer than any line of ours.
_LINE_BYTES_MAX: Final = 4 << 20


class SpoolOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a channel with this sender is set by."""

    #: Where its files are; made where it is missing.
    folder: Annotated[OptionalPath, msgspec.Meta(min_length=1)]

    def problem(self) -> str | None:
        """What can't be, though each value is within its bounds; blocks."""
        try:
            make_folder(Path(self.folder))
        except OSError as error:
            return f"folder: {self.folder}: {system_words(error)}"
        return None if os.access(self.folder, os.W_OK) else f"folder: {self.folder} may not be written by this user"


class SpoolSender:
    """See Sender. Letters that come together share a write and an fsync."""

    def __init__(self, options: SpoolOptions) -> None:
        self._folder = Path(options.folder).absolute()
        self._waiting: list[tuple[Letter, asyncio.Future[Answer]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await asyncio.to_thread(make_folder, self._folder)

    def has(self, message_id: str) -> Iterator[str]:
        path = self._path(message_id)
        try:
            file = path.open("r+b")
        except FileNotFoundError:
            return
        with file:
            end = 0
            while (line := file.readline(_LINE_BYTES_MAX)).endswith(b"\n"):
                end += len(line)
                try:
                    yield str(json.loads(line)["member_id"])
                except (ValueError, KeyError, TypeError):
                    continue  # no line of ours
            if line:  # a crash cut it off: it was never told to be there
                file.truncate(end)
                os.fsync(file.fileno())

    async def hand_over(self, letter: Letter) -> Answer:
        told: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((letter, told))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="writes letters")
        return await told

    async def finish(self, message_id: str) -> None:
        path = self._path(message_id)
        await asyncio.to_thread(write_durably, path.with_name(path.name + _DONE), b"")

    async def stop(self) -> None:
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            by_message: dict[str, list[tuple[Letter, asyncio.Future[Answer]]]] = {}
            for each in batch:
                by_message.setdefault(each[0].message_id, []).append(each)
            for message_id, letters in by_message.items():
                lines = b"".join(_line(letter) for letter, _ in letters)
                try:
                    await asyncio.to_thread(_append, self._path(message_id), lines)
                    answer = Answer(Word.TAKEN, "written")
                except OSError as error:
                    answer = Answer(Word.AGAIN, system_words(error))
                for _, told in letters:
                    if not told.done():
                        told.set_result(answer)

    def _path(self, message_id: str) -> Path:
        return self._folder / (message_id + _LINES)


def _line(letter: Letter) -> bytes:
    content = {"key": letter.key, **letter._asdict(), "columns": dict(letter.columns)}
    return json.dumps(content, ensure_ascii=False).encode(errors="replace") + b"\n"


def _append(path: Path, lines: bytes) -> None:
    """All of them, on disk, or none. Raises OSError."""
    is_new = not path.exists()
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        before = os.fstat(file).st_size
        try:
            left = memoryview(lines)
            while left:
                left = left[os.write(file, left) :]
            os.fsync(file)
        except OSError:
            os.ftruncate(file, before)
            raise
    finally:
        os.close(file)
    if is_new:
        sync_folder(path.parent)
