"""The node's snapshots on its own disk: written whole or not at all, checked on load, a few kept.

| in the folder | what |
|---|---|
| `<import>-<position>.snapshot` | a snapshot; the greatest (import, position) is the newest |
| `*.part` | one that was not finished: removed at start |
| `aside/` | damaged ones and those of another log, each with the reason in a text beside it; a few are kept |
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.treenode.snapshots.state_file import StateDamagedError, StateFile, read_label, read_state, sync_folder

SUFFIX = ".snapshot"
#: Snapshots that were set aside and are kept for whoever wants to look.
ASIDE_KEPT = 2

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
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in folder.glob("*.part"):
            if not unfinished.name.startswith("peer-"):
                unfinished.unlink()

    @property
    def folder(self) -> Path:
        """Where the snapshots are."""
        return self._folder

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
        self._aside.mkdir(exist_ok=True)
        target = self._aside / snapshot.path.name
        snapshot.path.rename(target)
        target.with_suffix(".reason").write_text(reason + "\n", encoding="utf-8")
        old = sorted(self._aside.glob("*" + SUFFIX), key=lambda path: path.stat().st_mtime_ns)
        for path in old[:-ASIDE_KEPT]:
            path.unlink(missing_ok=True)
            path.with_suffix(".reason").unlink(missing_ok=True)
        sync_folder(self._folder)

    def set_all_aside(self, reason: str) -> None:
        """Moves every snapshot out of the way: the node starts empty."""
        for snapshot in self.all():
            self.set_aside(snapshot, reason)

    def prune(self) -> None:
        """Removes all but the newest few."""
        for snapshot in self.all()[self._kept :]:
            snapshot.path.unlink(missing_ok=True)
