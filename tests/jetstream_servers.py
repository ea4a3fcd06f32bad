"""How tests use the real NATS servers of their run (`jetstream` in tests/conftest.py): a stream of its own for each."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

from bench.servers.nats_servers import NatsServers
from services.pusher.log.jetstream.connecting import Connection
from services.pusher.log.jetstream.settings import JetstreamSettings
from services.pusher.log.settings import LogSettings

_numbers = itertools.count(1)


def fresh_settings(servers: NatsServers, **options: object) -> LogSettings:
    """How a pusher uses a stream that nobody else has."""
    options = {"nats_stream": f"log_{next(_numbers)}", "nats_monitoring_urls": servers.monitoring_urls, **options}
    return LogSettings(
        log_store="jetstream",
        log_url=servers.url,
        jetstream=JetstreamSettings(**options),  # type: ignore[arg-type]
    )


@contextlib.contextmanager
def stream_settings(servers: NatsServers, **options: object) -> Iterator[LogSettings]:
    """The same, with a stream that is gone afterwards."""
    settings = fresh_settings(servers, **options)
    try:
        yield settings
    finally:
        asked(settings, "STREAM.DELETE", {})


def asked(settings: LogSettings, what: str, question: dict[str, Any]) -> dict[str, Any]:
    """What JetStream answers of the stream that the settings name."""
    connection = Connection(settings.log_url, settings.jetstream)
    try:
        return connection.ask(f"$JS.API.{what}.{settings.jetstream.nats_stream}", question)
    finally:
        connection.close()
