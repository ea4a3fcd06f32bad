"""How tests use the real PostgreSQL of their run (`postgresql` in tests/conftest.py): a schema of its own for each."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

from bench.rivals.postgres_replicas import ReplicatedPostgres
from services.pusher.log.postgresql.settings import PostgresqlSettings
from services.pusher.log.settings import LogSettings

#: Small, and as durable as it comes.
SETTINGS = """
listen_addresses = ''
shared_buffers = 64MB
max_wal_size = 1GB
max_wal_senders = 8
wal_level = replica
hot_standby = on
"""
_numbers = itertools.count(1)


def fresh_settings(server: ReplicatedPostgres, **options: object) -> LogSettings:
    """How a pusher uses a schema that nobody else has."""
    postgresql = PostgresqlSettings(log_schema=f"log_{next(_numbers)}", **options)  # type: ignore[arg-type]
    return LogSettings(log_store="postgresql", log_url=server.url(), postgresql=postgresql)


@contextlib.contextmanager
def schema_settings(server: ReplicatedPostgres, **options: object) -> Iterator[LogSettings]:
    """The same, with a schema that is gone afterwards."""
    settings = fresh_settings(server, **options)
    try:
        yield settings
    finally:
        server.psql(f"SET client_min_messages = error; DROP SCHEMA IF EXISTS {settings.postgresql.log_schema} CASCADE;")
