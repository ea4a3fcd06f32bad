"""Import files that wait to be sent, as a folder: written first, sent later, each taken once whatever dies.

    outgoing/NAME               to be sent; whole with a marker NAME.done, else once it has not changed for a while
    outgoing/.packing-NAME      what NAME was, while .packed-NAME.gz (.zip, .zst) is made of it
    outgoing/.sending-NAME      before the first try: which imports there were then, so that a later run knows its own
    outgoing/sent/NAME          the pusher has it; beside it NAME.import
    outgoing/refused/NAME       it can't be taken as it is; beside it NAME.reasons

A marker holds the log position that the export began at, or nothing, as in the upload folder. One run at a time: jobs
have a lock.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from fasttree.client.files import open_regular
from services.shared.domain.sentences import plain
from services.shared.files.arrivals import MARKER, NOT_REGULAR, UNFINISHED, EntryKind
from services.shared.files.checksums import file_sha256
from services.shared.files.durable import (
    discard,
    make_folder,
    remove_durably,
    replace_durably,
    sync_folder,
    write_durably,
)
from services.shared.files.names import file_name_problem, fit_file_name
from services.shared.files.watched_folder import entries_of, free_name
from services.shared.forms import Form
from services.shared.markers import read_marker
from services.shared.packing import Packing, packing_of
from services.shared.packing.packed import HEAD_BYTES
from services.shared.packing.writing import SUFFIXES, pack

SENT: Final = "sent"
REFUSED: Final = "refused"
IMPORT: Final = ".import"
REASONS: Final = ".reasons"
#: A file without a marker is whole once it has not changed for so long, in seconds.
STABLE_S: Final = 30.0
_PACKING: Final = ".packing-"
_PACKED: Final = ".packed-"
_SENDING: Final = ".sending-"
_PUT: Final = ".put-"
_SUFFIXES: Final = tuple(SUFFIXES.values())
#: A marker comes before its file only where it is put here by `put`.
_MARKER_ALONE_S: Final = 3_600.0
_PARQUET: Final = b"PAR1"


class OutgoingError(Exception):
    """A file can't be put there: one line with the mend."""


class Begun(msgspec.Struct, frozen=True):
    """What was known before the first try to send a file."""

    sha256: str
    #: The newest import that the pusher had then: one after it with this checksum is ours.
    newest_before: int


class Waiting(NamedTuple):
    """A file that is whole."""

    name: str
    #: The log position that its export began at; None: nobody said it.
    as_of_position: int | None


class Look(NamedTuple):
    """What lies there."""

    #: The oldest first.
    whole: list[Waiting]
    #: Names that are no files, or can have no such marker, with the reason.
    unfit: list[tuple[str, str]]
    #: Those that may still be written.
    unfinished: int


_BEGUN: Form[Begun] = Form(Begun)


class Outgoing:
    """One folder. Everything here blocks. Raises OSError where a folder can't be made."""

    def __init__(self, folder: Path) -> None:
        """`folder`: of the port, such as /datatrax/fasttree/FT50201."""
        self.folder = folder / "outgoing"
        for place in (SENT, REFUSED):
            make_folder(self.folder / place)

    def put(self, source: Path, packing: Packing, as_of_position: int | None) -> str:
        """Copies a file there, packed; its name there. The last thing that is written is its marker.

        Raises:
            OutgoingError: Its name can't be, or one of that name waits there already.
            OSError: It can't be read, is no regular file, or can't be written.
        """
        with open_regular(source) as file:
            is_packed = _is_packed(file.read(HEAD_BYTES))
            file.seek(0)
            name = source.name + ("" if is_packed else SUFFIXES.get(packing, ""))
            if problem := file_name_problem(name):
                raise OutgoingError(problem)
            if name.startswith(".") or name.lower().endswith((*UNFINISHED, MARKER)):
                raise OutgoingError(f"{name}: by its name it is not whole: rename it")
            target = self.folder / name
            if os.path.lexists(target):
                raise OutgoingError(f"{target} waits there already: send it first, or give this one another name")
            part = self.folder / f"{_PUT}{os.getpid()}-{name}"
            try:
                pack(file, part, Packing.NONE if is_packed else packing, source.name)
                shutil.copystat(source, part)
                # Its name comes last: with the marker there, nobody takes it for one that has no position.
                marker = b"" if as_of_position is None else b"%d\n" % as_of_position
                write_durably(self.folder / (name + MARKER), marker)
                replace_durably(part, target)
            finally:
                discard(part)
        return name

    def settle(self, now_s: float) -> None:
        """What a run left behind that died: what it was packing is packed again, what is over is forgotten."""
        for source in self.folder.glob(_PACKING + "*"):
            name = source.name.removeprefix(_PACKING)
            parts = [(self.folder / (_PACKED + name + suffix), self.folder / (name + suffix)) for suffix in _SUFFIXES]
            if any(part.exists() and target.exists() and part.samefile(target) for part, target in parts):
                remove_durably(self.folder / (name + MARKER), source)
            elif not os.path.lexists(self.folder / name):
                replace_durably(source, self.folder / name)
        remove_durably(*self.folder.glob(_PACKED + "*"))
        for marker in self.folder.glob("*" + MARKER):
            if not os.path.lexists(marker.with_suffix("")) and now_s - marker.lstat().st_mtime > _MARKER_ALONE_S:
                remove_durably(marker)
        for begun in self.folder.glob(_SENDING + "*"):
            if not os.path.lexists(self.folder / begun.name.removeprefix(_SENDING)):
                remove_durably(begun)

    def look(self, now_s: float) -> Look:
        """What is to be done. `now_s`: the wall clock."""
        found = Look([], [], 0)
        entries = {each.name: each for each in entries_of(self.folder)}
        unfinished = 0
        files = sorted(entries.values(), key=lambda each: (each.look[-1], each.name))
        for entry in files:
            name = entry.name
            if name.startswith(".") or entry.kind is EntryKind.FOLDER or name.endswith(MARKER):
                continue
            if name.lower().endswith(UNFINISHED):
                unfinished += 1
            elif entry.kind is not EntryKind.FILE:
                found.unfit.append((name, NOT_REGULAR))
            elif problem := file_name_problem(name):
                found.unfit.append((name, problem))
            elif name + MARKER in entries:
                try:
                    found.whole.append(Waiting(name, read_marker(self.folder / (name + MARKER))))
                except (ValueError, OSError) as error:
                    found.unfit.append((name, str(error)))
            elif now_s - entry.look[-1] / 1e9 >= STABLE_S:
                found.whole.append(Waiting(name, None))
            else:
                unfinished += 1
        return found._replace(unfinished=unfinished)

    def packed(self, waiting: Waiting, packing: Packing) -> Waiting:
        """The file as it is sent: packed now, where it is not yet and its packed name is free."""
        path = self.folder / waiting.name
        suffix = SUFFIXES.get(packing)
        with path.open("rb") as file:
            is_packed = _is_packed(file.read(HEAD_BYTES))
        name = f"{waiting.name}{suffix}"
        if suffix is None or is_packed or file_name_problem(name) or os.path.lexists(self.folder / name):
            return waiting
        kept, part = self.folder / (_PACKING + waiting.name), self.folder / (_PACKED + name)
        marker = self.folder / (waiting.name + MARKER)
        replace_durably(path, kept)
        with kept.open("rb") as file:
            pack(file, part, packing, waiting.name)
        shutil.copystat(kept, part)
        if marker.exists():
            write_durably(self.folder / (name + MARKER), marker.read_bytes())
        # A second name, so that `settle` knows this file from any other that gets there first.
        os.link(part, self.folder / name)
        sync_folder(self.folder)
        remove_durably(marker, kept)
        remove_durably(part)
        return waiting._replace(name=name)

    def begun(self, name: str) -> Begun | None:
        """What was known before the first try with this file as it is now; None: there was none."""
        try:
            begun = _BEGUN.of_json((self.folder / (_SENDING + name)).read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return begun if begun.sha256 == self.sha256(name) else None

    def begin(self, name: str, newest_before: int) -> Begun:
        """Before the first try."""
        begun = Begun(self.sha256(name), newest_before)
        write_durably(self.folder / (_SENDING + name), msgspec.json.encode(begun))
        return begun

    def sha256(self, name: str) -> str:
        return file_sha256(self.folder / name).hex()

    def path(self, name: str) -> Path:
        return self.folder / name

    def is_sent(self, name: str, told: dict[str, object]) -> None:
        """The pusher has it: what is known of its import goes beside it."""
        self._leave(name, SENT, IMPORT, msgspec.json.encode(told) + b"\n")

    def is_refused(self, name: str, reason: str) -> None:
        """It can't be taken as it is."""
        text = f"{plain(reason)}\nMend it and put it here again.\n"
        self._leave(name, REFUSED, REASONS, text.encode(errors="replace"))

    def _leave(self, name: str, place: str, beside: str, content: bytes) -> None:
        """Its name goes last, but for what tells a later run that it was sent: until then, that one does this again."""
        target = free_name(self.folder / place / fit_file_name(name))
        write_durably(target.with_name(target.name + beside), content)
        # A marker that stays alone would be taken for that of the next file of this name.
        remove_durably(self.folder / (name + MARKER))
        replace_durably(self.folder / name, target)
        remove_durably(self.folder / (_SENDING + name))


def _is_packed(head: bytes) -> bool:
    return packing_of(head) is not Packing.NONE or head.startswith(_PARQUET)
