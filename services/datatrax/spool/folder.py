"""The spool as a folder: watches it, takes one file after another, and puts each with its receipts where it belongs.

    NAME                    as a program put it there: with a marker NAME.done, by a rename from NAME.tmp, or unchanged
                            for `spool_stable_s`
    .taking-NAME            while it is pushed; a process that dies goes on with it
    done/NAME               taken, every line; beside it NAME.receipts
    refused/NAME            something of it was not taken; beside it NAME.receipts, and NAME.reasons by line

Each file is one try, and holds up no other. Only where the pusher is away, or the disk is full, is it tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from fasttree.client import CallError, Client, PushOptions
from services.datatrax.settings import SpoolSettings
from services.datatrax.spool.forms import FileForm, FormError, form_of
from services.datatrax.spool.taking import Taking, reasons_text
from services.shared.domain.sentences import counted, plain, system_words
from services.shared.files.arrivals import Arrivals, Due, Entry, EntryKind
from services.shared.files.durable import (
    PART,
    make_folder,
    open_new,
    remove_durably,
    remove_leftovers,
    replace_durably,
    write_durably,
)
from services.shared.files.names import file_name_problem, fit_file_name
from services.shared.files.watched_folder import entries_of, free_name

logger = logging.getLogger(__name__)

DONE = "done"
REFUSED = "refused"
RECEIPTS = ".receipts"
REASONS = ".reasons"
_TAKING = ".taking-"


class SpoolFolder:
    """One folder. `run` is its life.

    Raises:
        OSError: A folder can't be made.
    """

    def __init__(
        self,
        settings: SpoolSettings,
        client: Client,
        options: PushOptions,
        why_closed: Callable[[], str] = lambda: "",
    ) -> None:
        """`why_closed`: why no file is begun now; empty where they are."""
        self._why_closed = why_closed
        self._folder = Path(settings.spool_folder).absolute()
        self._layouts = Path(settings.layout_folder).absolute() if settings.layout_folder else self._folder / "layouts"
        self._settings, self._client, self._options = settings, client, options
        self._arrivals = Arrivals(settings.spool_stable_s, settings.spool_marker_settle_s)
        #: What went wrong last, so that the same is not said again and again.
        self._said = ""
        self.files = self.refused_files = self.updates = 0
        for place in (DONE, REFUSED):
            make_folder(self._folder / place)
        make_folder(self._layouts)
        remove_leftovers(self._folder, _TAKING + "*" + PART)

    async def run(self) -> None:
        """For as long as the process runs."""
        while True:
            try:
                for claimed in await asyncio.to_thread(self._claim_due):
                    await self._take(claimed)
                self._said = ""
            except (OSError, CallError) as error:
                self._say(f"the spool {self._folder} waits: {system_words(error)}; tries again")
            await asyncio.sleep(self._settings.spool_poll_s)

    def _say(self, line: str) -> None:
        if line != self._said:
            self._said = line
            logger.error("%s", line)

    def _claim_due(self) -> list[Path]:
        """Claims what is whole, refuses what is unfit; returns all that is to be taken, the oldest first."""
        for each in self._arrivals.look(entries_of(self._folder), time.monotonic()):
            if isinstance(each, Due) and (closed := self._why_closed()):
                said = f"{closed}; put it here again where it shall count now"
                self._refuse_unread(self._folder / each.name, each.name, said)
            elif isinstance(each, Due):
                replace_durably(self._folder / each.name, self._folder / (_TAKING + each.name))
            else:
                self._refuse_unread(self._folder / each.name, fit_file_name(each.name), each.reason)
            if each.marker is not None:
                remove_durably(self._folder / each.marker.name)
        claimed = [each for each in entries_of(self._folder) if _is_claimed(each)]
        return [self._folder / each.name for each in sorted(claimed, key=lambda each: (each.look[-1], each.name))]

    async def _take(self, claimed: Path) -> None:
        """Raises CallError, OSError: it is tried again."""
        name = claimed.name.removeprefix(_TAKING)
        receipts = claimed.with_name(claimed.name + PART)
        with contextlib.ExitStack() as files:
            try:
                form, file, written = await asyncio.to_thread(self._open, claimed, name, receipts, files)
            except FormError as error:
                await asyncio.to_thread(self._refuse_unread, claimed, name, str(error))
                return
            outcome = await Taking(file, form, written).run(self._client, self._options)
            await asyncio.to_thread(_sync, written)
        place = REFUSED if outcome.refused else DONE
        reasons = reasons_text(outcome, form.unit) if outcome.refused else b""
        await asyncio.to_thread(self._finish, claimed, place, name, receipts, reasons)
        self.files += 1
        self.refused_files += place == REFUSED
        self.updates += outcome.updates
        said = f"{counted(outcome.updates, 'update')}, {outcome.refused:,} refused"
        logger.log(logging.WARNING if outcome.refused else logging.INFO, "%s: %s; it is in %s", name, said, place)

    def _open(
        self, claimed: Path, name: str, receipts: Path, files: contextlib.ExitStack
    ) -> tuple[FileForm, BinaryIO, BinaryIO]:
        """Its form, itself and its receipts. Raises FormError, OSError."""
        form = form_of(name, self._layouts)
        if not form.has_own_ids and os.path.lexists(self._folder / DONE / name):  # cleaning leaves the name
            raise FormError(
                f"{DONE}/{name} was taken already, and its updates are known by their places in a file of that name: "
                "give this one another name, or its layout an update_id"
            )
        file = files.enter_context(claimed.open("rb"))
        return form, file, files.enter_context(open(open_new(receipts), "wb"))

    def _finish(self, claimed: Path, place: str, name: str, receipts: Path, reasons: bytes) -> None:
        """The file goes last: until then, the next process does all of this again."""
        target = free_name(self._folder / place / name)
        replace_durably(receipts, target.with_name(target.name + RECEIPTS))
        if reasons:
            write_durably(target.with_name(target.name + REASONS), reasons)
        replace_durably(claimed, target)

    def _refuse_unread(self, file: Path, name: str, reason: str) -> None:
        target = free_name(self._folder / REFUSED / name)
        write_durably(target.with_name(target.name + REASONS), f"{plain(reason)}\n".encode(errors="replace"))
        replace_durably(file, target)
        self.files += 1
        self.refused_files += 1
        logger.warning("%s is refused: %s", name, plain(reason))


def _is_claimed(entry: Entry) -> bool:
    """Whether it is one that we gave that name to."""
    name = entry.name.removeprefix(_TAKING)
    is_ours = name != entry.name and not name.endswith(PART) and not file_name_problem(name)
    return is_ours and entry.kind is EntryKind.FILE


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
