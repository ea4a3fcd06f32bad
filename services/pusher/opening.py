"""The log that the settings name, opened."""

from __future__ import annotations

import contextlib

from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import LogStore, LogStoreError
from services.pusher.settings import PusherSettings
from services.shared.files.sealed.survey import check_keys


def open_store(settings: PusherSettings, cluster: str) -> LogStore:
    """It reads only, until somebody claims it.

    Raises:
        LogStoreError: It can't be opened, or what it needs is not installed.
        SealKeyError: It is sealed by a key that is not here, or an import file beside it is.
    """
    check_keys(settings.state_path)
    store = _opened(settings, cluster)
    try:
        first, last = store.ends()
        for position in {first, last} if last >= first else ():
            with contextlib.suppress(LogStoreError):  # whoever needs that record finds out
                store.read(position, position, 1)
    except BaseException:
        store.close()
        raise
    return store


def _opened(settings: PusherSettings, cluster: str) -> LogStore:
    if settings.log.log_store == "sqlite":
        return SqliteLog(settings.state_path, settings.log)
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
