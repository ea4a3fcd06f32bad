"""The coordinators' Lease where it is kept in PostgreSQL: one row for each cluster, whose version every write names.

How a write is made sure of
---------------------------
1. It is one transaction, and one round trip: the row is replaced where it has the version that the write goes by. So
   of two that come together, one does, whatever session or pooler they come through.
2. A version is the writer's own word, never used again, with the time at which the server that answers was started. A
   standby that was promoted without the newest writes (commits did not wait for it) may have an old row; it has not
   an old version, so whoever waits for a lease to end waits anew (`leadership.py`, rule 3).
3. A commit waits for the synchronous standbys, whatever the database's setting. One that comes back with a warning
   counts as one without an answer: PostgreSQL says so where somebody ended that wait.
4. After a write without an answer, what is read is written again, as it is, before it is believed: what only the
   primary has by then is lost with it. Who has not written has no need to: its next write is committed after all that
   it has read, or not at all.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import msgspec
import psycopg

from services.coordinator.stores.lease import Object
from services.coordinator.stores.postgresql_settings import PostgresqlSettings
from services.coordinator.stores.postgresql_table import TABLE
from services.coordinator.stores.store import StoreConflictError, StoreError
from services.shared.forms import Form
from services.shared.postgresql.connecting import (
    AsyncConnection,
    Meaning,
    Server,
    ServerUnusableError,
    cut,
    in_words,
    meaning_of,
)

_OBJECT: Form[dict[str, Any]] = Form(dict[str, Any])
#: An attempt to connect goes on when the call that it was begun for has ended: the next one finds it made.
_CONNECT_TIMEOUT_S = 3.0
_MENDED = "have the database's administrator run what `fasttree log schema --coordinator` prints"
#: What the server says where the table is not this one.
_NOT_OURS = (
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.DatatypeMismatch,
    psycopg.errors.InvalidTextRepresentation,
    psycopg.errors.WrongObjectType,
    psycopg.errors.DuplicateObject,
)
#: When the server that answers was started; no standby may answer.
_STARTED = "extract(epoch FROM pg_postmaster_start_time())::text"


class PostgresqlLease:
    """See LeaseObject. A call that is cancelled ends its connection.

    Args:
        settings: Where it is, and what it is asked with.
        cluster: Whose row it is.
        timeout_s: How long the server works at one statement.

    Raises:
        StoreError: The settings lead to no server.
    """

    setting = "coordinator.postgresql_schema"

    def __init__(self, settings: PostgresqlSettings, cluster: str, timeout_s: float) -> None:
        try:
            self._server = Server(
                settings.postgresql_url,
                setting="coordinator.postgresql_url",
                password_file=settings.postgresql_password_file,
                password_setting="coordinator.postgresql_password_file",
                connect_timeout_s=_CONNECT_TIMEOUT_S,
                application="fasttree-coordinator",
            )
        except ServerUnusableError as error:
            raise StoreError(str(error)) from None
        self.name = cluster
        self._schema = settings.postgresql_schema
        self._table = f'"{settings.postgresql_schema}".coordinators'
        self._begin = (
            f"BEGIN; SET LOCAL synchronous_commit = on; SET LOCAL statement_timeout = {timeout_s * 1000:.0f}; "
        )
        self._connection: AsyncConnection | None = None
        self._connecting: asyncio.Task[AsyncConnection] | None = None
        #: A write of this process had no answer: what is read may be what only the primary has (rule 4).
        self._unsure = False
        self._warning = ""

    async def get(self, *, anew: bool = False) -> Object | None:
        # A row that is written, even as it is, was read where writes are confirmed: at no server that others left.
        self._unsure = self._unsure or anew
        look = f"SELECT lease, version, {_STARTED}, pg_is_in_recovery() FROM {self._table} WHERE cluster = %s"
        if self._unsure:
            look = (
                f"UPDATE {self._table} SET version = version WHERE cluster = %s "
                f"RETURNING lease, version, {_STARTED}, false"
            )
        try:
            rows = await (self._write(look, self.name) if self._unsure else self._ask(look, self.name))
        except _NoTableError:
            await self._make_table()
            return None
        if not rows:
            return None
        lease, version, started, is_standby = rows[0]
        if is_standby:  # of a pooler, say, that has not heard of a promotion
            await self._drop()
            raise StoreError(f"PostgreSQL at {self._server.place} is no primary: see to coordinator.postgresql_url")
        return self._object(lease, f"{version}@{started}")

    async def create(self, about: Object) -> Object:
        lease, version = _parts(about)
        insert = f"INSERT INTO {self._table} VALUES (%s, %s, %s) ON CONFLICT DO NOTHING RETURNING {_STARTED}"
        return self._written(lease, version, await self._write(insert, self.name, version, lease))

    async def replace(self, about: Object) -> Object:
        expected, _, started = str(about["metadata"]["resourceVersion"]).rpartition("@")
        lease, version = _parts(about)
        update = (
            f"UPDATE {self._table} SET version = %s, lease = %s "
            f"WHERE cluster = %s AND version = %s AND {_STARTED} = %s RETURNING {_STARTED}"
        )
        return self._written(lease, version, await self._write(update, version, lease, self.name, expected, started))

    async def close(self) -> None:
        await self._drop()

    def _written(self, lease: str, version: str, rows: list[tuple[Any, ...]]) -> Object:
        if not rows:
            raise StoreConflictError(f"the record of {self.name} in PostgreSQL was changed by another one")
        return self._object(lease, f"{version}@{rows[0][0]}")

    def _object(self, lease: str, version: str) -> Object:
        place = f"the record of {self.name} in {self._schema}.coordinators at {self._server.place}"
        try:
            about = _OBJECT.of_json(lease)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(
                f"{place} can't be read: {error}; delete the row, or set another {self.setting}: "
                "the epoch goes on above what the nodes know"
            ) from error
        metadata = about.setdefault("metadata", {})
        if not isinstance(metadata, dict):
            raise StoreError(f"{place} holds something else: set another {self.setting}")
        metadata["resourceVersion"] = version
        return about

    # ---- one round trip each -----------------------------------------------------------------------------------------

    async def _write(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        """One transaction; returns what it returned. Raises StoreError: not known whether it was done."""
        self._unsure = True
        self._warning = ""
        rows = await self._ask(f"{self._begin}{statement}; COMMIT", *values)
        if self._warning:
            raise StoreError(f"PostgreSQL at {self._server.place} has not confirmed a write: {self._warning}")
        self._unsure = False
        return rows

    async def _ask(self, statements: str, *values: str) -> list[tuple[Any, ...]]:
        """The rows of the one of these statements that has any. Raises StoreError, _NoTableError."""
        try:
            connection = await self._connected()
            try:
                return await _run(connection, statements, values)
            except BaseException:
                await self._drop()
                raise
        except ServerUnusableError as error:
            raise StoreError(f"coordinator.postgresql_password_file: {error}") from None
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
            raise _NoTableError(f"PostgreSQL at {self._server.place}: {in_words(error)}; {_MENDED}") from error
        except _NOT_OURS as error:
            raise StoreError(
                f"schema {self._schema} at {self._server.place} has something else that is called coordinators "
                f"({in_words(error)}): set another {self.setting}"
            ) from error
        except psycopg.Error as error:
            mend = {Meaning.FORBIDDEN: f"; {_MENDED}", Meaning.DAMAGED: "; promote a standby that is whole"}
            said = f"PostgreSQL at {self._server.place}: {in_words(error)}"
            raise StoreError(said + mend.get(meaning_of(error), "")) from error

    async def _make_table(self) -> None:
        """Raises StoreError where this role may not."""
        there = await self._ask("SELECT 1 FROM pg_namespace WHERE nspname = %s", self._schema)
        # Coordinators that start together take turns; the lock ends with the transaction, whatever session it is in.
        make = "SELECT pg_advisory_xact_lock(hashtext(%s)); "
        make += "" if there else f'CREATE SCHEMA IF NOT EXISTS "{self._schema}"; '
        await self._write(make + TABLE.format(schema=f'"{self._schema}"'), f"fasttree {self._schema}")

    async def _connected(self) -> AsyncConnection:
        if self._connection is not None and self._connection.closed:
            await self._drop()
        if self._connection is None:
            if self._connecting is None:
                self._connecting = asyncio.create_task(self._server.connect_soon())
            try:
                self._connection = await asyncio.shield(self._connecting)
            except asyncio.CancelledError:
                raise  # it goes on, for the next call
            except BaseException:
                self._connecting = None
                raise
            self._connecting = None
            self._connection.add_notice_handler(self._noticed)
        return self._connection

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warning = notice.message_primary or "a warning"

    async def _drop(self) -> None:
        """Ends the connection; the next call makes another one."""
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
            for made in await asyncio.gather(connecting, return_exceptions=True):
                if isinstance(made, psycopg.AsyncConnection):
                    await made.close()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


class _NoTableError(StoreError):
    """The table is not there."""


def _parts(about: Object) -> tuple[str, str]:
    """The text of the object, without a version, and the version that it gets."""
    metadata = {name: value for name, value in about["metadata"].items() if name != "resourceVersion"}
    return msgspec.json.encode({**about, "metadata": metadata}).decode(), secrets.token_hex(16)


async def _run(connection: AsyncConnection, statements: str, values: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """Raises psycopg.Error. Cancelled, it ends the connection at once: psycopg itself would ask the server, which may
    be what does not answer, to end the statement, and wait."""

    async def run() -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        async with connection.cursor() as cursor:
            await cursor.execute(statements, values)
            while True:
                if cursor.description:
                    rows = await cursor.fetchall()
                if not cursor.nextset():
                    return rows

    running = asyncio.ensure_future(run())
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        cut(connection)
        await asyncio.gather(running, return_exceptions=True)
        raise
