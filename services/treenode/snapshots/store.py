"""The node's snapshots on its own disk: written whole or not at all, checked on load, a few kept.

| in the folder | what |
|---|---|
| `<import>-<position>.snapshot` | a snapshot; the greatest (import, position) is the newest |
| `unfinished.part` | one that is being written: removed at start |
| `peer-*.part` | one that comes from a peer, and may go on where it stopped; one at most |
| `aside/` | damaged ones and those of another log, each with the reason in a text beside it; a few are kept |
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.shared.files.durable import (
    PART,
    discard,
    make_folder,
    remove_durably,
    remove_leftovers,
    replace_durably,
    write_durably,
)
from services.treenode.snapshots.state_file import StateDamagedError, StateFile, read_label, read_state

SUFFIX = ".snapshot"
#: Snapshots that were set aside and are kept for whoever wants to look.
ASIDE_KEPT = 2

_REASON = ".reason"
_FROM_PEERS = "peer-*" + PART

_NAME = re.compile(r"(\d{1,20})-(\d{1,20})\.snapshot")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class Snapshot:
    """A snapshot file; they order by age."""

    import_id: int
    position: int
    path: Path


def snapshots_in(folder: Path) -> list[Snapshot]:
    """Every snapshot in a folder, newest first."""
    names = [(path, _NAME.fullmatch(path.name)) for path in folder.glob("*" + SUFFIX)]
    return sorted((Snapshot(int(name[1]), int(name[2]), path) for path, name in names if name), reverse=True)


class SnapshotStore:
    """The folder of one node's snapshots. Every method blocks on the disk: run it in a thread where that matters."""

    def __init__(self, folder: Path, *, kept: int, cluster: str) -> None:
        self._folder = folder
        self._aside = folder / "aside"
        self._kept = kept
        self._cluster = cluster
        #: Where a snapshot is written to before it has its name.
        self.unfinished = folder / ("unfinished" + PART)
        #: What comes, or came last, from a peer in this process's life.
        self._incoming: Path | None = None
        make_folder(folder)
        remove_leftovers(folder, but=set(folder.glob(_FROM_PEERS)))

    def path_of(self, import_id: int, position: int) -> Path:
        """Where the snapshot of that state is or goes."""
        return self._folder / f"{import_id}-{position}{SUFFIX}"

    def find(self, import_id: int, position: int) -> Snapshot | None:
        """The snapshot of that state; of (0, 0): the newest."""
        for snapshot in self.all():
            if (import_id, position) in ((0, 0), (snapshot.import_id, snapshot.position)):
                return snapshot
        return None

    def all(self) -> list[Snapshot]:
        """Every snapshot, newest first."""
        return snapshots_in(self._folder)

    def load_newest(self, begun: Callable[[Path], StateFile | None] = lambda path: None) -> StateFile | None:
        """The newest snapshot that is whole. A damaged one is set aside, and the one before it is taken.

        `begun`: gives what was read of a file already (early_read.py), or raises as `read_state`.
        """
        for snapshot in self.all():
            try:
                self._check_label(snapshot, read_label(snapshot.path))
                return begun(snapshot.path) or read_state(snapshot.path)
            except (StateDamagedError, OSError, ValueError, KeyError) as error:
                logger.error("snapshot %s is set aside: %s", snapshot.path.name, error)
                self.set_aside(snapshot, str(error))
        return None

    def label_of(self, snapshot: Snapshot) -> dict[str, Any]:
        """What its writer said about it. Raises what `read_label` raises."""
        return read_label(snapshot.path)

    def _check_label(self, snapshot: Snapshot, label: dict[str, Any]) -> None:
        if label["cluster"] != self._cluster:
            raise StateDamagedError(f"it is of cluster {label['cluster']}, not {self._cluster}")
        if (label["import_id"], label["position"]) != (snapshot.import_id, snapshot.position):
            raise StateDamagedError(f"it holds import {label['import_id']} at position {label['position']}")

    def set_aside(self, snapshot: Snapshot, reason: str) -> None:
        """Moves a snapshot out of the way, with the reason beside it."""
        make_folder(self._aside)
        target = self._aside / snapshot.path.name
        write_durably(target.with_suffix(_REASON), (reason + "\n").encode())
        replace_durably(snapshot.path, target)
        old = sorted(self._aside.glob("*" + SUFFIX), key=lambda path: path.stat().st_mtime_ns)[:-ASIDE_KEPT]
        remove_durably(*old, *(path.with_suffix(_REASON) for path in old))

    def set_all_aside(self, reason: str) -> None:
        """Moves every snapshot out of the way: the node starts empty."""
        for snapshot in self.all():
            self.set_aside(snapshot, reason)

    def set_others_aside(self, log_id: str) -> None:
        """Moves every snapshot of another log out of the way: there is one of this log now (empty: of none yet)."""
        for snapshot in self.all() if log_id else ():
            try:
                other = read_label(snapshot.path)["log_id"]
            except (StateDamagedError, OSError, ValueError, KeyError):
                continue  # whoever starts from it finds out
            if other and other != log_id:
                self.set_aside(snapshot, f"it is of log {other}; the node went over to log {log_id}")

    def incoming(self, import_id: int, position: int, sha256: bytes) -> Path:
        """Where a peer's snapshot goes while it comes; what is left of any other one is removed."""
        self._incoming = self._folder / f"peer-{import_id}-{position}-{sha256.hex()[:16]}{PART}"
        remove_leftovers(self._folder, _FROM_PEERS, but={self._incoming})
        return self._incoming

    def take(self, part: Path, import_id: int, position: int) -> None:
        """Gives a whole snapshot, its bytes on disk, its name."""
        replace_durably(part, self.path_of(import_id, position))

    def discard(self, part: Path) -> None:
        """Removes what will not become a snapshot, if it is still there."""
        discard(part)

    def prune(self) -> None:
        """Removes all but the newest few, and what came from a peer in a former life: there is a newer state here."""
        remove_durably(*(snapshot.path for snapshot in self.all()[self._kept :]))
        remove_leftovers(self._folder, _FROM_PEERS, but={self._incoming} if self._incoming is not None else ())
