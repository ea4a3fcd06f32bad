"""How the pusher reaches a PostgreSQL server, and what the server's errors mean to the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from services.pusher.log.postgresql.settings import PostgresqlSettings
from services.pusher.log.store import LogDamagedError, LogStoreError, StoreFullError
from services.shared.postgresql.connecting import Connection, Meaning, Server, ServerUnusableError, in_words, meaning_of


class Connecting:
    """Opens connections. Raises LogStoreError where the URL can be none."""

    def __init__(self, url: str, settings: PostgresqlSettings) -> None:
        try:
            self._server = Server(
                url,
                setting="log_url",
                password_file=settings.log_password_file,
                password_setting="log_password_file",
                connect_timeout_s=settings.log_connect_timeout_s,
                application="fasttree-pusher",
            )
        except ServerUnusableError as error:
            raise LogStoreError(str(error)) from None
        self.place = self._server.place

    def connect(self) -> Connection:
        """See `Server.connect`.

        Raises:
            psycopg.Error: The server.
            LogStoreError: The password's file can't be read.
        """
        try:
            return self._server.connect()
        except ServerUnusableError as error:
            raise LogStoreError(str(error)) from None

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
        words = in_words(error)
        match meaning_of(error):
            case Meaning.DAMAGED:
                whole = "bring back a whole copy, or promote a standby"
                return LogDamagedError(f"{self.place} is damaged: {words}; {whole}")
            case Meaning.FORBIDDEN:
                return LogStoreError(f"{self.place}: {words}; grant what `fasttree log schema` prints")
            case Meaning.LATER:
                place = "" if error.sqlstate else f", log_url and the password ({self._server.password_from})"
                mend = f"see to the server{place}"
                return StoreFullError(f"can't use PostgreSQL at {self.place}: {words}; {mend}")
            case Meaning.OTHER:
                return LogStoreError(f"PostgreSQL at {self.place}: {words}")
