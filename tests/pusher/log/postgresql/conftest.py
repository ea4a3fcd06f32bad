"""A server, and logs in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.rivals.postgres_replicas import ReplicatedPostgres
from services.pusher.log.settings import LogSettings
from tests.postgresql_server import schema_settings


@pytest.fixture
def server(postgresql: ReplicatedPostgres) -> ReplicatedPostgres:
    return postgresql


@pytest.fixture
def settings(server: ReplicatedPostgres) -> Iterator[LogSettings]:
    with schema_settings(server, log_patience_s=5.0) as made:
        yield made
