"""The log engines that every test of a log store runs with."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.pusher.log.jetstream.store import JetstreamLog
from services.pusher.log.memory import MemoryLog
from services.pusher.log.postgresql.store import PostgresqlLog
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import LogStore
from services.shared.files.sealed.own import keys_for_now
from tests.jetstream_servers import stream_settings
from tests.postgresql_server import schema_settings
from tests.shared.files.sealed.own_keys import keys


class Engine:
    """One log of an engine, and as many processes that have it open as a test wants."""

    def __init__(self, open_one: Callable[[], LogStore]) -> None:
        self._open_one = open_one
        self._opened: list[LogStore] = []

    def open(self) -> LogStore:
        """The log as one more process has it open: nothing is claimed."""
        self._opened.append(self._open_one())
        return self._opened[-1]

    def close(self) -> None:
        for store in self._opened:
            store.close()


@pytest.fixture(params=["memory", "sqlite", "sealed", "postgresql", "jetstream"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with contextlib.ExitStack() as kept:
        if request.param == "postgresql":
            settings = kept.enter_context(schema_settings(request.getfixturevalue("postgresql")))
            made = Engine(lambda: PostgresqlLog(tmp_path, settings, "test"))
        elif request.param == "jetstream":
            settings = kept.enter_context(stream_settings(request.getfixturevalue("jetstream")))
            # Each with a folder of its own, as on machines of their own: the index of ids is in it.
            made = Engine(lambda: JetstreamLog(Path(tempfile.mkdtemp(dir=tmp_path)), settings, "test"))
        else:
            if request.param == "sealed":
                kept.enter_context(keys_for_now(keys()))
            made = Engine(MemoryLog().beside if request.param == "memory" else lambda: SqliteLog(tmp_path))
        kept.callback(made.close)
        yield made


@pytest.fixture
def store(engine: Engine) -> LogStore:
    return engine.open().claim_alone()
