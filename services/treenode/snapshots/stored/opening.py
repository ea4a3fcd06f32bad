"""The place of stored snapshots, where the settings name one."""

from __future__ import annotations

from services.shared.objects.opening import open_objects
from services.treenode.snapshots.stored.objects import StoredSnapshots
from services.treenode.snapshots.stored.settings import SnapshotStoreSettings
from services.treenode.snapshots.stored.source import StoredSource


def open_stored(settings: SnapshotStoreSettings, cluster: str) -> StoredSnapshots | None:
    """It, or None. Nothing is asked of it yet: it may be away.

    Raises:
        SettingsError: What it needs is not here.
    """
    objects = open_objects(settings.place, cluster)
    if objects is None:
        return None
    part_bytes = settings.snapshot_part_mib << 20
    return StoredSnapshots(objects, part_bytes, settings.snapshot_parallel, settings.snapshots_stored)


def source_of(stored: StoredSnapshots, settings: SnapshotStoreSettings) -> StoredSource:
    """The same for who looks for a base. A part comes whole or not at all: for that long nothing may come."""
    return StoredSource(stored, settings.snapshot_request_timeout_s * (settings.snapshot_retries + 1) + 1.0)
