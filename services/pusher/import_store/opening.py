"""The files of imports, where the settings say."""

from __future__ import annotations

import re
from pathlib import Path

from services.pusher.import_store.folder import FolderObjects
from services.pusher.import_store.kept import KeptImports
from services.pusher.import_store.objects import Objects
from services.pusher.import_store.parts import ImportObjects
from services.pusher.import_store.settings import ImportStoreSettings
from services.pusher.imports.files import ImportFiles
from services.pusher.settings import PusherSettings
from services.shared.config.load import SettingsError
from services.shared.domain.sentences import system_words

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]|\A\.+\Z")


def open_imports(settings: PusherSettings, cluster: str) -> KeptImports:
    """The files, wherever they are. Nothing is asked of the store yet: it may be away.

    Raises:
        OSError: The folder on this disk.
        SettingsError: What the store needs is not here.
    """
    chosen = settings.import_files
    files = ImportFiles(settings.state_path / "imports", settings.import_bytes_max)
    objects: Objects | None = None
    if chosen.import_store == "s3":
        objects = _bucket(chosen, plain_name(cluster))
    elif chosen.import_folder:
        folder = Path(chosen.import_folder).absolute()
        objects = FolderObjects(folder, plain_name(cluster), chosen.import_request_timeout_s)
    if objects is None:
        return KeptImports(files, None, chosen.import_look_s)
    store = ImportObjects(objects, chosen.import_part_mib << 20, chosen.import_parallel)
    return KeptImports(files, store, chosen.import_look_s)


def _bucket(settings: ImportStoreSettings, cluster: str) -> Objects:
    try:
        from services.pusher.import_store.s3 import S3Objects
    except ImportError as error:
        raise SettingsError(
            f"pusher.import_store: s3 needs {error.name}, which is not installed: pip install ha-fasttree[objects]"
        ) from error
    try:
        return S3Objects(settings, cluster)
    except (OSError, ValueError) as error:
        raise SettingsError(f"pusher.import_ca_file: {system_words(error)}") from error


def plain_name(cluster: str) -> str:
    """A cluster's name as one of a folder; no two clusters' are the same."""
    return _NOT_PLAIN.sub(lambda found: "".join(f"={ord(each):02X}" for each in found[0]), cluster)
