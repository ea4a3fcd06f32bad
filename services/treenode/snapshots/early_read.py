"""Begins to read the newest snapshot while the rest of the process is still being imported.

Two threads read and check a gigabyte in half a second, with the interpreter free for whoever needs it; importing the
rest of the node takes as long. So this imports little, and nothing of the engine.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from services.shared.config.load import load_settings
from services.treenode.settings import TreeNodeSettings
from services.treenode.snapshots.state_file import StateFile, read_state
from services.treenode.snapshots.store import snapshots_in


def begin_early_read(config: Path | None, overrides: dict[str, str]) -> EarlyRead:
    """Begins with the node's newest snapshot. Raises SettingsError as `load_settings`."""
    settings = load_settings(TreeNodeSettings, "treenode", config, overrides)
    return EarlyRead(settings.state_path / "snapshots")


class EarlyRead:
    """One snapshot on its way into memory; whoever starts the node takes it."""

    def __init__(self, folder: Path) -> None:
        """Begins with the newest snapshot in the folder, if there is one."""
        self._path: Path | None = None
        self._reading: Future[StateFile] | None = None
        found = snapshots_in(folder)
        if found:
            self._path = found[0].path
            thread = ThreadPoolExecutor(1, thread_name_prefix="early-read")
            self._reading = thread.submit(read_state, self._path)
            thread.shutdown(wait=False)

    def take(self, path: Path) -> StateFile | None:
        """What `read_state` gives or raises, if that is the file that was begun with; None for another one, and the
        second time: the state belongs to whoever took it. Blocks."""
        if self._reading is None or path != self._path:
            return None
        reading, self._reading = self._reading, None
        return reading.result()
