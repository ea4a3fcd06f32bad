"""The folder of the states that one node keeps of closed periods.

| in the folder | what |
|---|---|
| `<period>-<import>-<position>-<log>.period` | a state, in a snapshot's form (`snapshots/state_file.py`) |
| `*.part` | one that is being written or fetched: removed at start |
| `aside/` | damaged ones and those of other logs, each with the reason in a text beside it; a few are kept |
"""

from __future__ import annotations

import logging
import re
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from services.shared.files.durable import (
    PART,
    discard,
    make_folder,
    remove_durably,
    remove_leftovers,
    replace_durably,
    write_durably,
)
from services.shared.files.sealed.names import state_name
from services.shared.files.sealed.reading import content_size
from services.shared.forms import Form
from services.treenode.periods.keeping import Kept
from services.treenode.snapshots.state_file import StateDamagedError, check_state, read_label

SUFFIX = ".period"
_REASON = ".reason"
#: How it comes to be.
PartKind: TypeAlias = Literal["written", "fetched"]
_NAME = re.compile(r"\d{4}-\d{2}-\d{1,20}-\d{1,20}-[0-9a-f]{8}\.period")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptFile:
    """A file that is kept."""

    state: Kept
    digest: int
    #: Of what is in it.
    size_bytes: int


class _Label(msgspec.Struct, frozen=True):
    """What `label_of` wrote."""

    cluster: str
    log_id: str
    period: str
    import_id: int
    position: int
    replayed: bool
    digest: int


_LABEL: Form[_Label] = Form(_Label)


def label_of(state: Kept, cluster: str, digest: int, written_at_s: int) -> dict[str, Any]:
    """What stands in the file's header."""
    return {
        "cluster": cluster,
        "log_id": state.log_id,
        "period": state.period,
        "import_id": state.import_id,
        "position": state.position,
        "replayed": state.replayed,
        "digest": digest,
        "written_at_s": written_at_s,
    }


class PeriodFiles:
    """The folder. Every method blocks on the disk: run it in a thread where that matters."""

    def __init__(self, folder: Path, *, aside_max: int, cluster: str) -> None:
        """`aside_max`: files that were set aside and are kept for whoever wants to look."""
        self._folder = folder
        self._aside = folder / "aside"
        self._aside_max = aside_max
        self._cluster = cluster
        self._lock = threading.Lock()
        #: Files that this process has written, fetched or read through: name, and what the system says of them.
        self._checked: set[tuple[str, int, int]] = set()
        make_folder(folder)
        remove_leftovers(folder)

    def path_of(self, state: Kept) -> Path:
        """Where its file is or goes."""
        return self._folder / f"{_stem(state)}{SUFFIX}"

    def part_of(self, state: Kept, kind: PartKind) -> Path:
        """Where it is before it has its name."""
        return self._folder / f"{kind}-{_stem(state)}{PART}"

    def all(self) -> list[KeptFile]:
        """Every file, by name; one whose header can't be believed is set aside."""
        found = []
        for path in sorted(self._folder.glob("*" + SUFFIX)):
            try:
                found.append(self.described(path))
            except (StateDamagedError, OSError) as error:
                logger.error("%s is set aside: %s", path.name, error)
                self.set_aside(path, str(error))
        return found

    def described(self, path: Path) -> KeptFile:
        """What a file's header says. Raises StateDamagedError, OSError where it is of no use."""
        try:
            label = _LABEL.of(read_label(path, _whole_name(path)))
        except msgspec.ValidationError as error:
            raise StateDamagedError(f"its label is odd: {error}") from error
        state = Kept(label.log_id, label.period, label.import_id, label.position, label.replayed)
        if label.cluster != self._cluster:
            raise StateDamagedError(f"it is of cluster {label.cluster}, not {self._cluster}")
        named = self.path_of(state)
        if _NAME.fullmatch(named.name) is None or (path.suffix == SUFFIX and path != named):
            raise StateDamagedError(f"it holds period {state.period} at import {state.import_id}, {state.position}")
        return KeptFile(state, label.digest, content_size(path, state_name(_whole_name(path))))

    def check_part(self, part: Path) -> None:
        """Reads a file through that has not got its name yet. Raises StateDamagedError, OSError."""
        check_state(part, _whole_name(part))

    def take(self, part: Path, state: Kept) -> KeptFile:
        """Gives a whole file, its bytes on disk and checked, its name."""
        path = self.path_of(state)
        replace_durably(part, path)
        self._note_checked(path)
        return self.described(path)

    def check(self, state: Kept) -> Path:
        """Reads a file through, unless this process has done so; where it is. Raises StateDamagedError, OSError."""
        path = self.path_of(state)
        known = _identity(path)
        with self._lock:
            if known in self._checked:
                return path
        check_state(path)
        self._note_checked(path)
        return path

    def _note_checked(self, path: Path) -> None:
        with self._lock:
            self._checked = {each for each in self._checked if each[0] != path.name} | {_identity(path)}

    def remove(self, state: Kept) -> None:
        """It is not wanted any more."""
        remove_durably(self.path_of(state))

    def set_aside(self, path: Path, reason: str) -> None:
        """Moves a file out of the way, with the reason beside it; one that is not there is no error."""
        if not path.exists():
            return
        make_folder(self._aside)
        target = self._aside / path.name
        write_durably(target.with_suffix(_REASON), (reason + "\n").encode())
        replace_durably(path, target)
        old = sorted(self._aside.glob("*" + SUFFIX), key=lambda each: each.stat().st_mtime_ns)[: -self._aside_max]
        remove_durably(*old, *(each.with_suffix(_REASON) for each in old))

    def discard(self, part: Path) -> None:
        """Removes what will not become a file, if it is still there."""
        discard(part)


def _stem(state: Kept) -> str:
    return f"{state.period}-{state.import_id}-{state.position}-{zlib.crc32(state.log_id.encode()):08x}"


def _whole_name(path: Path) -> str:
    """The name that a file has, or will have."""
    return path.name if path.suffix != PART else path.name.partition("-")[2].removesuffix(PART) + SUFFIX


def _identity(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return path.name, stat.st_ino, stat.st_mtime_ns
