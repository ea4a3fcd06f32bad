"""What tests of several rooms share for the whole run."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from bench.rivals.postgres_replicas import ReplicatedPostgres, replicated_postgres
from bench.servers.nats_servers import NatsServers, nats_servers
from bench.servers.s3_server import S3Server, s3_server
from tests.postgresql_server import SETTINGS

#: The one of whoever runs the tests.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """A command that runs in this process sets a umask for all of it: each test has the one that there was."""
    os.umask(_UMASK)
    yield
    os.umask(_UMASK)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No collection of garbage: whoever listens to it, as a service's figures do, can't be called in the very moment in
    which a reader of deeply nested text has used up Python's stack. Python only prints that; pytest fails by it."""
    gc.disable()
    yield
    gc.enable()


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


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A real S3-compatible server, as long as the run. It makes its buckets by itself."""
    with s3_server() as server:
        yield server
