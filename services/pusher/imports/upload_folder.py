"""The watched upload folder: a file that appears there is taken as an import.

A file is taken when `FILE.done` stands beside it, or when it has not changed for a while. The marker may hold a
number: the position that the export began at (as_of_position); otherwise the file is taken as of the log's end. It
then moves to `done/` (or to `refused/`, where it could not even be taken in), with `FILE.result.txt` beside it that
says what became of it: first that it was taken, and once the rollout is over, how that ended.

While it is being taken it is called `.taking-POSITION-FILE`: a pusher that dies in between goes on with the same
position. So each step is on disk before the next one: the name with the position before the marker goes, the result
before the file moves beside it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from pathlib import Path

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.imports.catalog import ImportCatalog
from services.pusher.imports.intake import ImportIntake
from services.shared.files.durable import (
    PART,
    make_folder,
    remove_durably,
    remove_leftovers,
    replace_durably,
    write_durably,
)
from services.shared.files.names import check_file_name, inside
from services.shared.serving.background import Background
from services.shared.serving.errors import FastTreeError, ResourceExhaustedError

logger = logging.getLogger(__name__)

_MARKER = ".done"
_RESULT = ".result.txt"
_TAKING = ".taking-"
_POSITION = re.compile(r"[0-9]{1,19}")
_CLAIMED = re.compile(re.escape(_TAKING) + rf"({_POSITION.pattern})-(.+)", re.DOTALL)
_PLACES = ("done", "refused")
_HOW_IT_ENDED = {
    pusher_pb2.IMPORT_STATE_DONE: "done: every healthy node serves from it",
    pusher_pb2.IMPORT_STATE_REFUSED: "refused: the tree before serves on",
    pusher_pb2.IMPORT_STATE_SUPERSEDED: "superseded: a newer import took its place",
}


class UploadFolder:
    """Watches one folder.

    Raises:
        OSError: The folder can't be made.
    """

    def __init__(
        self,
        folder: Path,
        intake: ImportIntake,
        catalog: ImportCatalog,
        background: Background,
        *,
        poll_s: float,
        stable_s: float,
    ) -> None:
        self._folder, self._intake, self._catalog, self._background = folder, intake, catalog, background
        self._poll_s, self._stable_s = poll_s, stable_s
        #: Size and time of change of each file at the last look, and since when they are the same (monotonic seconds).
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}
        for place in _PLACES:
            make_folder(folder / place)
            remove_leftovers(folder / place, "*" + _RESULT + PART)
        for claimed in self._claimed():
            self._remove_old_marker(claimed)

    async def run(self) -> None:
        """For as long as the pusher runs."""
        while True:
            try:
                for claimed in await asyncio.to_thread(self._claim_ready):
                    await self._take(claimed)
            except (OSError, ResourceExhaustedError) as error:
                logger.error("the upload folder %s: %s; tries again", self._folder, error)
            await asyncio.sleep(self._poll_s)

    def _ready(self) -> list[Path]:
        """Files that are whole, the oldest first."""
        now = time.monotonic()
        found: dict[Path, tuple[tuple[int, int], float]] = {}
        ready: list[tuple[int, Path]] = []
        for file in self._folder.iterdir():
            if not file.is_file() or file.name.startswith(".") or file.name.endswith(_MARKER):
                continue
            state = file.stat()
            look = (state.st_size, state.st_mtime_ns)
            before, since = self._seen.get(file, (None, now))
            found[file] = (look, since if before == look else now)
            if self._marker(file).exists() or now - found[file][1] >= self._stable_s:
                ready.append((state.st_mtime_ns, file))
        self._seen = found
        return [file for _, file in sorted(ready)]

    def _marker(self, file: Path) -> Path:
        return file.with_name(file.name + _MARKER)

    def _claim_ready(self) -> list[Path]:
        """Claims what is whole; returns all that is to be taken."""
        for file in self._ready():
            try:
                self._claim(file)
            except OSError as error:  # a name that can't be made longer, say: it holds up no other
                logger.error("%s can't be taken: %s; tries again", file, error)
        return self._claimed()

    def _claim(self, file: Path) -> None:
        """Gives a file the name that it has while it is being taken, with its position in it."""
        marker = self._marker(file)
        text = marker.read_text(encoding="utf-8", errors="replace").strip() if marker.exists() else ""
        position = text if _POSITION.fullmatch(text) else self._intake.position
        replace_durably(file, file.with_name(f"{_TAKING}{position}-{file.name}"))
        remove_durably(marker)

    def _remove_old_marker(self, claimed: Path) -> None:
        """Ends a claim that was cut off in between: the marker would say of the next file of that name that it is
        whole, and as of when."""
        file = claimed.with_name(_position_and_name(claimed)[1])
        if not file.exists():
            remove_durably(self._marker(file))

    def _claimed(self) -> list[Path]:
        return sorted(file for file in self._folder.iterdir() if _CLAIMED.fullmatch(file.name) and file.is_file())

    async def _take(self, claimed: Path) -> None:
        """Takes one file. Raises ResourceExhaustedError where there is no room for it now."""
        position, name = _position_and_name(claimed)
        try:
            check_file_name(name)
            manifest = self._taken_before(claimed, name, position)
            if manifest is None:
                manifest = await self._intake.take(claimed, name, position)
        except ResourceExhaustedError:
            raise
        except (FastTreeError, OSError) as error:
            logger.error("%s is refused: %s", name, error)
            await asyncio.to_thread(self._finish, claimed, "refused", f"refused: {error}\n")
            return
        told = f"taken as import {manifest.import_id}\n"
        result = await asyncio.to_thread(self._finish, claimed, "done", told)
        self._background.start(self._follow(manifest.import_id, result), f"follows import {manifest.import_id}")

    def _taken_before(self, claimed: Path, name: str, position: int) -> types_pb2.ImportManifest | None:
        """The import that the file became before the pusher died, if it did."""
        for status in self._catalog.newest(1):
            manifest = status.manifest
            same = (manifest.file_name, manifest.as_of_position, manifest.size_bytes)
            if same == (name, position, claimed.stat().st_size):
                return manifest
        return None

    def _finish(self, claimed: Path, place: str, text: str) -> Path:
        target = inside(self._folder / place, _position_and_name(claimed)[1])
        if target.exists():
            target = target.with_name(f"{time.time_ns()}-{target.name}")
        result = target.with_name(target.name + _RESULT)
        write_durably(result, text.encode())
        replace_durably(claimed, target)
        return result

    async def _follow(self, import_id: int, result: Path) -> None:
        async for status in self._catalog.watch(import_id):
            if status.state in _HOW_IT_ENDED:
                try:
                    await asyncio.to_thread(write_durably, result, _result_text(status).encode())
                except OSError as error:
                    logger.error("%s can't be written: %s; `fasttree import list` tells it too", result, error)


def _position_and_name(claimed: Path) -> tuple[int, str]:
    """What the name of a file that is being taken says."""
    found = _CLAIMED.fullmatch(claimed.name)
    assert found is not None  # it would not be one
    return int(found[1]), found[2]


def _result_text(status: pusher_pb2.ImportStatus) -> str:
    lines = [f"import {status.manifest.import_id} {_HOW_IT_ENDED[status.state]}"]
    for node in status.nodes:
        progress = node.progress
        if progress.reason:
            lines.append(f"{node.node}: {progress.reason}")
        if progress.rejected_count:
            lines.append(f"{node.node}: {progress.rejected_count} rows were rejected; the first ones:")
        lines += [f"line {row.line}, {row.column or 'whole row'}: {row.reason}" for row in progress.rejected_rows]
    return "\n".join(lines) + "\n"
