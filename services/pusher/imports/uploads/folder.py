"""The watched upload folder: a file that appears there is taken as an import.

Which of the things in it are due, and which are refused unread, says `arrivals.py`; what a marker says, `markers.py`.
What is taken moves to `done/`; what is refused, to `refused/`, also when the nodes refuse it later. Beside it stands
`NAME.result.txt`, which says what became of it: first that it was taken, and once the rollout is over, how that ended,
also where the pusher ended in between.

While a file is being taken it is called `.taking-POSITION-FILE`, or `.taking-end-POSITION-FILE` where nobody said a
position and it is the log's end: a pusher that dies in between goes on with the same one. So each step is on disk
before the next one: the name with the position before the marker goes, the result before the file moves beside it.

Each file is one try, and holds up no other: what can't be taken is refused, whatever the reason; only where the disk is
full is it tried again later.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.imports.catalog import ImportCatalog
from services.pusher.imports.files import FileTooLargeError
from services.pusher.imports.intake import ImportIntake
from services.pusher.imports.uploads.whole import ends_within_a_line
from services.shared.domain.sentences import NO_ROOM, counted, plain, system_words, with_mend
from services.shared.files.arrivals import MARKER, Arrivals, Due, Entry, EntryKind
from services.shared.files.checksums import file_sha256
from services.shared.files.durable import (
    PART,
    make_folder,
    remove_durably,
    remove_leftovers,
    replace_durably,
    write_durably,
)
from services.shared.files.names import file_name_problem, fit_file_name
from services.shared.files.watched_folder import entries_of, free_name, look_of
from services.shared.markers import POSITION_MAX, MarkerError, read_marker
from services.shared.objects.objects import StoreAwayError
from services.shared.serving.background import Background
from services.shared.serving.errors import ResourceExhaustedError
from services.shared.serving.standard.auditing import UNASKED, NotWrittenDownError, operation

logger = logging.getLogger(__name__)

_RESULT = ".result.txt"
_TAKING = ".taking-"
_AT_END = "end-"
_CLAIMED = re.compile(re.escape(_TAKING) + rf"({_AT_END})?([0-9]{{1,19}})-(.+)", re.DOTALL)
_TAKEN = "taken as import {import_id}\n"
_TAKEN_RESULT = re.compile(rb"taken as import ([0-9]{1,19})\n(?:remark: [^\n]*\n)?")
_TAKEN_BYTES_MAX = 4_096
#: Results of earlier processes that are looked at: the newest.
_RESULTS_LOOKED_AT = 1_000
#: How many times `stable_s` a file that ends within a line may stay the same before it is refused.
_CUT_TIMES = 10
_PLACES = ("done", "refused")
_FOR_NOW = {*NO_ROOM, errno.EMFILE, errno.ENFILE}
_HOW_IT_ENDED = {
    pusher_pb2.IMPORT_STATE_DONE: "done: every healthy node serves from it",
    pusher_pb2.IMPORT_STATE_REFUSED: "refused: the tree before serves on",
    pusher_pb2.IMPORT_STATE_SUPERSEDED: "superseded: a newer import took its place",
}


class UploadFolder:
    """Watches one folder. While `is_closed`, files lie: the log that they would be as of must not grow.
    `profile`: the kept one that says the form of its files; empty: that of imports.

    Raises:
        OSError: The folder can't be made.
    """

    def __init__(
        self,
        folder: Path,
        intake: ImportIntake,
        catalog: ImportCatalog,
        background: Background,
        is_closed: Callable[[], bool] = lambda: False,
        *,
        profile: str = "",
        poll_s: float,
        stable_s: float,
        marker_settle_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._intake, self._catalog, self._background = folder, intake, catalog, background
        self._is_closed, self._profile = is_closed, profile
        self._poll_s, self._cut_s = poll_s, _CUT_TIMES * stable_s
        self._arrivals = Arrivals(stable_s, marker_settle_s)
        self._now_s = now_s
        #: What went wrong last, so that the same is not said twice a second.
        self._said: dict[str, str] = {}
        for place in _PLACES:
            make_folder(folder / place)
            remove_leftovers(folder / place, "*" + _RESULT + PART)
        #: Files that the process before this one was taking: it may have taken them, and died before they moved.
        self._left_over = set(self._claimed())
        for claimed in self._left_over:
            self._remove_old_marker(claimed)

    async def run(self) -> None:
        """For as long as the pusher runs."""
        await self._follow_left_over()
        while True:
            if self._is_closed():
                await asyncio.sleep(self._poll_s)
                continue
            try:
                for claimed in await asyncio.to_thread(self._claim_due):
                    await self._try(claimed)
            except OSError as error:
                self._say(self._folder.name, f"the upload folder {self._folder}: {with_mend(error)}; tries again")
            await asyncio.sleep(self._poll_s)

    def _say(self, name: str, line: str) -> None:
        if self._said.get(name) != line:
            self._said[name] = line
            logger.error("%s", line)

    # -- what is due

    def _claim_due(self) -> list[Path]:
        """Claims what is whole, refuses what is unfit; returns all that is to be taken."""
        entries = entries_of(self._folder)
        found = self._arrivals.look(entries, self._now_s())
        here = {each.name for each in found}
        self._said = {name: line for name, line in self._said.items() if name in here or (self._folder / name).exists()}
        self._say_folders(entries)
        for each in found:
            try:
                self._claim(each) if isinstance(each, Due) else self._refuse(each.name, each.reason, each.marker)
            except OSError as error:
                self._say(
                    each.name, f"{self._folder / each.name!r} can't be moved: {system_words(error)}; put it here anew"
                )
                if error.errno in _FOR_NOW:
                    self._arrivals.try_again(each.name)
        return self._claimed()

    def _say_folders(self, entries: list[Entry]) -> None:
        """Those that are called as a file is, or have a marker: whoever put them here waits for something."""
        names = {each.name.lower() for each in entries}
        for each in entries:
            is_meant = Path(each.name).suffix or (each.name + MARKER).lower() in names
            if each.kind is EntryKind.FOLDER and is_meant and not each.name.startswith("."):
                self._say(each.name, f"{self._folder / each.name} is a folder, and not taken: put the file itself here")

    def _claim(self, due: Due) -> None:
        """Gives a file the name that it has while it is being taken, with its position in it."""
        file = self._folder / due.name
        position = None
        if due.marker is not None:
            marker, problem = self._folder / due.marker.name, ""
            try:
                try:
                    position = read_marker(marker)
                except MarkerError as error:
                    problem = str(error)
                is_settled = look_of(marker.lstat()) == due.marker.look
            except FileNotFoundError:
                is_settled = False
            if not is_settled:  # taken back meanwhile, or being written: then it may be read in part
                self._arrivals.try_again(due.name)
                return
            if problem:
                self._refuse(due.name, problem, due.marker)
                return
        elif ends_within_a_line(file):
            if due.still_s < self._cut_s:
                self._arrivals.try_again(due.name)
                line = f"{due.name} ends within a line; waits for the rest, or for {due.name}{MARKER} where it is whole"
                self._say(due.name, line)
            else:
                self._refuse(due.name, f"it ends within a line: where it is whole, put {due.name}{MARKER} beside it")
            return
        place = f"{_AT_END}{self._intake.position}" if position is None else f"{position}"
        claimed = f"{_TAKING}{place}-{due.name}"
        replace_durably(file, self._folder / claimed)
        self._remove_marker(due.marker)

    def _remove_marker(self, marker: Entry | None) -> None:
        """The marker of a file that is gone from here; not one that has come since, with the next file of that name:
        that one would be taken as of another position."""
        if marker is None or marker.kind is EntryKind.FOLDER:
            return
        path = self._folder / marker.name
        with contextlib.suppress(FileNotFoundError):
            if look_of(path.lstat()) == marker.look:
                remove_durably(path)

    def _remove_old_marker(self, claimed: Path) -> None:
        """Ends a claim that was cut off in between: the marker would say of the next file of that name that it is
        whole, and as of when."""
        name = _position_and_name(claimed)[1]
        if not os.path.lexists(self._folder / name):
            for marker in self._folder.iterdir():
                if marker.name.lower() == (name + MARKER).lower() and not marker.is_dir():
                    remove_durably(marker)

    def _claimed(self) -> list[Path]:
        """In the order of their positions, and of those of one position the oldest first."""
        claimed = [
            (int(found[2]), file.lstat().st_mtime_ns, file)
            for file in self._folder.iterdir()
            if (found := _CLAIMED.fullmatch(file.name))
            and int(found[2]) <= POSITION_MAX
            and not file_name_problem(found[3])
            and file.is_file()
            and not file.is_symlink()
        ]
        return [file for _, _, file in sorted(claimed)]

    # -- taking one

    async def _try(self, claimed: Path) -> None:
        """Takes one file, or refuses it; leaves it for later where there is no room."""
        name = _position_and_name(claimed)[1]
        try:
            await self._take(claimed)
            return
        except FileTooLargeError as error:
            reason = str(error)
        except (ResourceExhaustedError, NotWrittenDownError, StoreAwayError) as error:
            self._say(claimed.name, f"{name} can't be taken yet: {system_words(error)}; tries again")
            return
        except OSError as error:
            if error.errno in _FOR_NOW:
                self._say(claimed.name, f"{name} can't be taken yet: {with_mend(error)}; tries again")
                return
            reason = str(error)
        except Exception as error:
            reason = str(error) or repr(error)
        logger.error("%s is refused: %s", name, reason)
        try:
            await asyncio.to_thread(self._finish, claimed, "refused", f"refused: {reason}\n")
        except OSError as error:
            self._say(claimed.name, f"{name} is refused and can't be moved: {with_mend(error)}; tries again")

    async def _take(self, claimed: Path) -> None:
        position, name = _position_and_name(claimed)
        manifest = None
        if claimed in self._left_over:
            manifest = await self._taken_before(claimed, name, position)
            self._left_over.discard(claimed)
        if manifest is None:
            named = not claimed.name.startswith(_TAKING + _AT_END)
            async with operation("", UNASKED, f"folder:{self._folder}", {"import_of": name}) as came_of_it:
                manifest = await self._intake.take(claimed, name, position, named=named, profile=self._profile)
                came_of_it |= {"import_id": manifest.import_id, "as_of_position": manifest.as_of_position}
        told = _TAKEN.format(import_id=manifest.import_id) + _remark_line(manifest)
        result = await asyncio.to_thread(self._finish, claimed, "done", told)
        self._start_following(manifest.import_id, result)

    async def _taken_before(self, claimed: Path, name: str, position: int) -> types_pb2.ImportManifest | None:
        """The import that the file became before the pusher died, if it did: the same bytes, not only as many."""
        for status in self._catalog.newest(1):
            manifest = status.manifest
            if (manifest.file_name, manifest.as_of_position) == (name, position):
                sha256 = await asyncio.to_thread(file_sha256, claimed)
                return manifest if (manifest.uploaded_sha256 or manifest.sha256) == sha256 else None
        return None

    def _refuse(self, name: str, reason: str, marker: Entry | None = None) -> None:
        """Moves a thing that was not claimed out of the way, links as the links that they are."""
        logger.error("%s is refused: %s", fit_file_name(name), reason)
        self._move(self._folder / name, "refused", fit_file_name(name), f"refused: {reason}\n")
        self._remove_marker(marker)

    def _finish(self, claimed: Path, place: str, text: str) -> Path:
        return self._move(claimed, place, _position_and_name(claimed)[1], text)

    def _move(self, file: Path, place: str, name: str, text: str) -> Path:
        target = free_name(self._folder / place / name)
        result = target.with_name(target.name + _RESULT)
        write_durably(result, text.encode(errors="replace"))
        replace_durably(file, target)
        return result

    # -- how it ended

    async def _follow_left_over(self) -> None:
        """Goes on to follow what earlier processes took, and did not see the end of."""
        for import_id, result in await asyncio.to_thread(self._unfinished_results):
            if any(status.manifest.import_id == import_id for status in self._catalog.newest(_RESULTS_LOOKED_AT)):
                self._start_following(import_id, result)

    def _unfinished_results(self) -> list[tuple[int, Path]]:
        results = sorted((self._folder / "done").glob("*" + _RESULT), key=lambda path: path.lstat().st_mtime_ns)
        found = []
        # The file of such a result has yet to move here: it is followed from then on, and not twice.
        claimed = {(self._folder / "done" / _position_and_name(each)[1]) for each in self._left_over}
        for result in results[-_RESULTS_LOOKED_AT:]:
            file = _file_of(result)
            if file in claimed and not os.path.lexists(file):
                continue
            if result.is_symlink() or not result.is_file() or result.stat().st_size > _TAKEN_BYTES_MAX:
                continue
            if told := _TAKEN_RESULT.fullmatch(result.read_bytes()):
                found.append((int(told[1]), result))
        return found

    def _start_following(self, import_id: int, result: Path) -> None:
        self._background.start(self._follow(import_id, result), f"follows import {import_id}")

    async def _follow(self, import_id: int, result: Path) -> None:
        async for status in self._catalog.watch(import_id):
            if status.state in _HOW_IT_ENDED:
                try:
                    await asyncio.to_thread(self._tell_end, result, status)
                except OSError as error:
                    logger.error("%s can't be written: %s; `fasttree import list` tells it too", result, error)

    def _tell_end(self, result: Path, status: pusher_pb2.ImportStatus) -> None:
        """The first result goes last: while it stands, the next process does all of this again."""
        text = _result_text(status)
        file = _file_of(result)
        if status.state != pusher_pb2.IMPORT_STATE_REFUSED or not os.path.lexists(file):
            write_durably(result, text.encode(errors="replace"))
            return
        self._move(file, "refused", file.name, text)
        remove_durably(result)


def _position_and_name(claimed: Path) -> tuple[int, str]:
    """What the name of a file that is being taken says."""
    found = _CLAIMED.fullmatch(claimed.name)
    assert found is not None  # it would not be one
    return int(found[2]), found[3]


def _file_of(result: Path) -> Path:
    return result.with_name(result.name.removesuffix(_RESULT))


def _remark_line(manifest: types_pb2.ImportManifest) -> str:
    return f"remark: {manifest.remark}\n" if manifest.remark else ""


def _result_text(status: pusher_pb2.ImportStatus) -> str:
    lines = [f"import {status.manifest.import_id} {_HOW_IT_ENDED[status.state]}"]
    lines += _remark_line(status.manifest).splitlines()
    for node in status.nodes:
        progress = node.progress
        if progress.reason:
            lines.append(f"{node.node}: {progress.reason}")
        if progress.rejected_count:
            lines.append(
                f"{node.node}: {counted(progress.rejected_count, 'row was', 'rows were')} rejected; the first:"
            )
        lines += [f"line {row.line}, {row.column or 'whole row'}: {row.reason}" for row in progress.rejected_rows]
    return "\n".join(map(plain, lines)) + "\n"
