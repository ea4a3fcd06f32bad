"""How the pusher reaches a PostgreSQL server, and what the server's errors mean."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from services.pusher.log.postgresql.settings import PostgresqlSettings
from services.pusher.log.store import LogDamagedError, LogStoreError, StoreFullError

logger = logging.getLogger(__name__)

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

#: What libpq does unless the URL says otherwise: a server that vanished is noticed in seconds, not in hours. Of several
#: hosts, the one that takes writes is taken, so a promoted standby is found.
_DEFAULTS = {
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
    "target_session_attrs": "read-write",
    "application_name": "fasttree-pusher",
}
#: Of classes of SQLSTATE: the server ends, starts or lacks something; or it is no primary (any more).
_MAY_WORK_LATER = ("08", "53", "57", "58", "40", "55")
_READ_ONLY = "25006"
#: The server ended a transaction in which nothing came: it did not happen.
IDLE_TOO_LONG = "25P03"
_DAMAGED = ("XX001", "XX002")


class Connecting:
    """Opens connections. Raises LogStoreError where the URL can be none."""

    def __init__(self, url: str, settings: PostgresqlSettings) -> None:
        self._settings = settings
        try:
            given = conninfo_to_dict(url)
        except psycopg.Error:  # its text may repeat what is secret
            given = {}
        if not given.get("host") and not given.get("service"):
            raise LogStoreError(
                "log_url must name a server, such as postgresql://fasttree@db1,db2/company?sslmode=verify-full"
            )
        if given.get("password"):
            raise LogStoreError("log_url holds a password: name a file of it in log_password_file")
        timeout_s = max(2, round(settings.log_connect_timeout_s))  # libpq's least
        self._options = {"connect_timeout": str(timeout_s), **_DEFAULTS, **given}
        self.place = f"{given.get('host') or 'service ' + str(given.get('service'))}/{given.get('dbname') or ''}"

    def connect(self) -> Connection:
        """One connection, each of whose statements is a transaction unless one is begun. Nothing is prepared: a pooler
        would give the next statement to a session that knows nothing of it.

        Raises:
            psycopg.Error: The server.
            LogStoreError: The password's file can't be read.
        """
        options: dict[str, Any] = {**self._options, **self._password()}
        return psycopg.connect(make_conninfo(**options), autocommit=True, prepare_threshold=None)

    def _password(self) -> dict[str, str]:
        if not self._settings.log_password_file:
            return {}
        path = Path(self._settings.log_password_file)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise LogStoreError(f"the password's file {path} can't be read: {type(error).__name__}") from None
        return {"password": lines[0]} if lines and lines[0] else {}

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turns PostgreSQL's errors into the store's. Where a statement failed, nothing of it was stored."""
        try:
            yield
        except psycopg.errors.UniqueViolation:
            raise
        except psycopg.Error as error:
            raise self.error_of(error) from error

    def error_of(self, error: psycopg.Error) -> LogStoreError:
        """What an error of the server is to the log."""
        state, words = error.sqlstate or "", in_words(error)
        if state in _DAMAGED:
            return LogDamagedError(f"{self.place} is damaged: {words}; bring back a whole copy, or promote a standby")
        if state == "42501":
            return LogStoreError(f"{self.place}: {words}; grant what `fasttree log schema` prints")
        if is_lost(error) or state[:2] in _MAY_WORK_LATER:
            return StoreFullError(f"can't use PostgreSQL at {self.place}: {words}; see to the server")
        return LogStoreError(f"PostgreSQL at {self.place}: {words}")


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is of no use any more."""
    state = error.sqlstate or ""
    if state in (_READ_ONLY, IDLE_TOO_LONG):  # read only: it was the primary, or a pooler still leads to it
        return True
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and (
        not state or (state[:2] in ("08", "57") and state != "57014")
    )


def in_words(error: psycopg.Error) -> str:
    """An error in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:300]
