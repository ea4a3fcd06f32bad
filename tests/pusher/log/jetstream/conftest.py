"""Three servers, and logs in them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.servers.nats_servers import NatsServers
from services.pusher.log.jetstream.store import JetstreamLog
from services.pusher.log.settings import LogSettings
from tests.jetstream_servers import stream_settings

Opener = Callable[..., JetstreamLog]


@pytest.fixture
def settings(jetstream: NatsServers) -> Iterator[LogSettings]:
    with stream_settings(jetstream, nats_patience_s=10.0) as made:
        yield made


@pytest.fixture
def opened(settings: LogSettings, tmp_path: Path) -> Iterator[Opener]:
    """Opens the log as one more process has it, on a machine of its own; closed at the end."""
    numbers = itertools.count()
    with contextlib.ExitStack() as kept:

        def open_one(other: LogSettings = settings, folder: Path | None = None) -> JetstreamLog:
            place = folder or tmp_path / f"machine-{next(numbers)}"
            place.mkdir(exist_ok=True)
            store = JetstreamLog(place, other, "test")
            kept.callback(store.close)
            return store

        yield open_one
