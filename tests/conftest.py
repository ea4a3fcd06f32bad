"""What tests of several rooms share for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.rivals.postgres_replicas import ReplicatedPostgres, replicated_postgres
from bench.servers.nats_servers import NatsServers, nats_servers
from tests.postgresql_server import SETTINGS


@pytest.fixture(scope="session")
def postgresql() -> Iterator[ReplicatedPostgres]:
    """A real server without standbys. Started by the first test that asks; it lives as long as the run's last one."""
    with replicated_postgres(SETTINGS, standbys=()) as server:
        yield server


@pytest.fixture(scope="session")
def jetstream() -> Iterator[NatsServers]:
    """Three real NATS servers, which write to their disks before they answer; as long as the run."""
    with nats_servers() as servers:
        yield servers
