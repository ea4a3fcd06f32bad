"""The files of imports, where the settings say."""

from __future__ import annotations

from services.pusher.import_store.imports import ImportObjects
from services.pusher.import_store.kept import KeptImports
from services.pusher.imports.files import ImportFiles
from services.pusher.settings import PusherSettings
from services.shared.objects.opening import open_objects


def open_imports(settings: PusherSettings, cluster: str) -> KeptImports:
    """The files, wherever they are. Nothing is asked of the store yet: it may be away.

    Raises:
        OSError: The folder on this disk.
        SettingsError: What the store needs is not here.
    """
    chosen = settings.import_files
    files = ImportFiles(settings.state_path / "imports", settings.import_bytes_max)
    objects = open_objects(chosen.place, cluster)
    store = ImportObjects(objects, chosen.import_part_mib << 20, chosen.import_parallel) if objects else None
    return KeptImports(files, store, chosen.import_look_s)
