"""The log that the settings name, opened."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from services.pusher.log.inspection import unopened_records
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import LogSealedError, LogStore, LogStoreError
from services.pusher.settings import PusherSettings
from services.shared.files.sealed.errors import SealKeyError
from services.shared.files.sealed.keys import Keys
from services.shared.personal.needed import check_folder, keys_lacking


def open_store(settings: PusherSettings, cluster: str) -> LogStore:
    """It reads only, until somebody claims it.

    Raises:
        LogStoreError: It can't be opened, or what it needs is not installed.
        LogSealedError: It is sealed by a key that is not here, or an import file beside it is.
    """
    try:
        check_folder(settings.state_path, _keys_lacking if settings.log.log_store == "sqlite" else None)
    except SealKeyError as error:
        raise LogSealedError(str(error)) from error
    store = _opened(settings, cluster)
    try:
        _check_ends(store)
    except BaseException:
        store.close()
        raise
    return store


def _keys_lacking(folder: Path, keys: Keys) -> set[str]:
    """As `keys_lacking`, with the log that lies beside."""
    found = keys_lacking(folder, keys)
    with suppress(LogStoreError):
        found |= unopened_records(folder, keys)
    return found


def _check_ends(store: LogStore) -> None:
    """Whether the first and the last record can be opened. What stands between them, who reads it finds out."""
    first, last = store.ends()
    for position in sorted({first, last}) if last >= first else ():
        try:
            store.read(position, position, 1)
        except LogSealedError:
            raise
        except LogStoreError:
            continue  # whoever needs that record finds out


def _opened(settings: PusherSettings, cluster: str) -> LogStore:
    if settings.log.log_store == "sqlite":
        return SqliteLog(settings.state_path, settings.log, cluster)
    try:
        if settings.log.log_store == "jetstream":
            from services.pusher.log.jetstream.store import JetstreamLog

            return JetstreamLog(settings.state_path, settings.log, cluster)
        from services.pusher.log.postgresql.store import PostgresqlLog
    except ImportError as error:
        extra = "jetstream" if settings.log.log_store == "jetstream" else "postgres"
        raise LogStoreError(
            f"the log in {settings.log.log_store} needs {error.name}, which is not installed: "
            f"pip install ha-fasttree[{extra}]"
        ) from error
    return PostgresqlLog(settings.state_path, settings.log, cluster)
