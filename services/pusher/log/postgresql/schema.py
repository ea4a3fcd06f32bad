"""The tables of a log, made and brought up to date."""

from __future__ import annotations

import zlib
from typing import Final

import psycopg

from services.pusher.log.postgresql.tables import MIGRATIONS, VERSION, founding, raised
from services.pusher.log.store import LogStoreError

#: What the server says where a name is taken by something else.
_NOT_OURS: Final = (
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateObject,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.WrongObjectType,
    psycopg.errors.InvalidTextRepresentation,
)


def prepare(connection: psycopg.Connection[tuple[object, ...]], schema: str, cluster: str) -> None:
    """Makes the tables where there are none, and brings those of an earlier version to this one; looks whose they are.

    Raises:
        LogStoreError: They are of a newer version or another cluster's, no log's at all, or may not be made.
        psycopg.Error: The server.
    """
    version = _version(connection, schema)
    if version < VERSION:
        # Two pushers that start together take turns; the lock ends with the transaction, whatever session it is in.
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (zlib.crc32(f"fasttree {schema}".encode()),))
            version = _version(connection, schema)
            if version < VERSION:
                _migrate(connection, schema, cluster, version)
                version = VERSION
    if version > VERSION:
        raise LogStoreError(f"schema {schema} has version {version}, this program knows {VERSION}: use a newer one")
    row = connection.execute(f"SELECT value FROM \"{schema}\".meta WHERE name = 'cluster'").fetchone()
    if row is None or row[0] != cluster:
        raise LogStoreError(
            f"schema {schema} holds the log of cluster {row[0] if row else 'nobody'}, not of {cluster}: set log_schema"
        )


def _version(connection: psycopg.Connection[tuple[object, ...]], schema: str) -> int:
    """0 where there is nothing."""
    there = "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = %s AND relname = %s"
    if not connection.execute(there, (schema, "meta")).fetchone():
        return 0
    try:
        row = connection.execute(f"SELECT value FROM \"{schema}\".meta WHERE name = 'version'").fetchone()
        return int(str(row[0])) if row is not None else 0
    except (*_NOT_OURS, ValueError) as error:
        raise _no_log(schema) from error


def _no_log(schema: str) -> LogStoreError:
    return LogStoreError(f"schema {schema} has tables that are no log of FastTree: set another log_schema")


def _migrate(connection: psycopg.Connection[tuple[object, ...]], schema: str, cluster: str, version: int) -> None:
    quoted = f'"{schema}"'
    try:
        if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone():
            connection.execute(f"CREATE SCHEMA {quoted}")
        for step in range(version + 1, VERSION + 1):
            connection.execute(MIGRATIONS[step].format(schema=quoted))
        if version == 0:
            connection.execute(founding(quoted, cluster))
        else:
            connection.execute(raised(quoted))
    except _NOT_OURS as error:
        raise _no_log(schema) from error
    except psycopg.errors.InsufficientPrivilege as error:
        there = f"tables of version {version}, not {VERSION}" if version else f"no tables of version {VERSION}"
        told = f" --from {version}" if version else ""
        raise LogStoreError(
            f"schema {schema} has {there}, and this role may not make them: have the database's "
            f"administrator run what `fasttree log schema{told}` prints"
        ) from error
