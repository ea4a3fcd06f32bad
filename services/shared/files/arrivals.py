"""Which of the things in a watched folder are due, without any I/O.

The rules:

1. Only regular files are files: a link could lead to whatever the service may read, a pipe could hold it up for ever.
   Those are refused unread. Folders are none of its business.
2. A file is being written while its name begins with a dot, or ends as copying programs let it end (`.filepart`,
   `.part`, ...). It is passed over.
3. A file with a marker `NAME.done` beside it (in any case) is whole. The marker has to have stood unchanged for
   `marker_settle_s`: whoever writes a number into it may have made it empty first, and a position that is not read is
   updates that are lost. Nor may the file have changed in that time. A marker that stood alone was left by a file
   that is gone: beside it, the next of that name is being written until it is due as one without a marker is.
4. A file without one is due once it has not changed for `stable_s`. What a file is as of, its name can't say: it is
   taken as of the log's end.
5. A file that stood there under an unfinished name at the look before is whole once it has got its own: due at once.
6. Of what is refused or due, each is told once; it is told again when it has become another file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from services.shared.files.names import file_name_problem

MARKER = ".done"
#: Of files that are being copied, as the programs call them that copy.
UNFINISHED = (".filepart", ".part", ".partial", ".crdownload", ".tmp", ".temp")
NOT_REGULAR = "it is no regular file (a link, a pipe or a device): put the file itself here"
MARKER_NOT_REGULAR = "its marker {marker} is no regular file: write the position that the export began at into a file"


class EntryKind(Enum):
    """What a name in the folder stands for; links are not followed."""

    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in the folder. `look`: whatever changes when the thing behind the name does; its inode first."""

    name: str
    kind: EntryKind
    look: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """A file that is whole as far as can be seen. `still_s`: how long it has not changed."""

    name: str
    marker: Entry | None = None
    still_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Unfit:
    """A thing that is refused unread. `marker`: goes with it."""

    name: str
    reason: str
    marker: Entry | None = None


@dataclass(slots=True)
class _Seen:
    """A name at the last look, and since when it is the same."""

    look: tuple[int, ...]
    since_s: float
    told: bool = False
    #: It had an unfinished name before this one.
    is_renamed: bool = False
    #: Of a marker: at some look its file was not there.
    stood_alone: bool = False


@dataclass(slots=True)
class Arrivals:
    """What was in the folder at the last look. One look at a time, each with a time that is no earlier."""

    stable_s: float
    marker_settle_s: float
    _seen: dict[str, _Seen] = field(default_factory=dict)
    #: Inodes of what is being written, at the last look.
    _unfinished: set[int] = field(default_factory=set)

    def look(self, entries: Iterable[Entry], now_s: float) -> list[Due | Unfit]:
        """What is to be done now, by name."""
        unfinished, self._unfinished = self._unfinished, set()
        here: dict[str, Entry] = {}
        for entry in entries:
            if _is_marker(entry.name):
                here[entry.name] = entry
            elif entry.kind is EntryKind.FOLDER:
                continue
            elif _passed_over(entry.name):  # nothing else is asked of those, and there may be many
                self._unfinished.add(entry.look[0])
            else:
                here[entry.name] = entry
        self._seen = {name: self._still(entry, now_s) for name, entry in here.items()}
        markers = {name[: -len(MARKER)]: name for name in sorted(here) if _is_marker(name)}
        for name, marker in markers.items():
            self._seen[marker].stood_alone |= name not in here
        found = []
        for name in sorted(here):
            if _is_marker(name):
                continue
            entry = here[name]
            if entry.look[0] in unfinished:
                self._seen[name].is_renamed = True
            verdict = self._verdict(entry, here.get(markers.get(name, "")), now_s)
            if verdict is not None and not self._seen[name].told:
                self._seen[name].told = True
                found.append(verdict)
        return found

    def try_again(self, name: str) -> None:
        """What was told of this name could not be done yet."""
        if name in self._seen:
            self._seen[name].told = False

    def _still(self, entry: Entry, now_s: float) -> _Seen:
        before = self._seen.get(entry.name)
        return before if before is not None and before.look == entry.look else _Seen(entry.look, now_s)

    def _verdict(self, entry: Entry, marker: Entry | None, now_s: float) -> Due | Unfit | None:
        if entry.kind is not EntryKind.FILE:
            return Unfit(entry.name, NOT_REGULAR, marker)
        if problem := file_name_problem(entry.name):
            return Unfit(entry.name, problem, marker)
        still_s = now_s - self._seen[entry.name].since_s
        is_whole = still_s >= self.stable_s or self._seen[entry.name].is_renamed
        if marker is not None:
            if marker.kind is not EntryKind.FILE:
                return Unfit(entry.name, MARKER_NOT_REGULAR.format(marker=marker.name), marker)
            settled = min(still_s, now_s - self._seen[marker.name].since_s) >= self.marker_settle_s
            is_due = settled and (is_whole or not self._seen[marker.name].stood_alone)
            return Due(entry.name, marker, still_s) if is_due else None
        return Due(entry.name, still_s=still_s) if is_whole else None


def _is_marker(name: str) -> bool:
    return name.lower().endswith(MARKER) and len(name) > len(MARKER)


def _passed_over(name: str) -> bool:
    return name.startswith(".") or _is_marker(name) or name.lower().endswith(UNFINISHED)
