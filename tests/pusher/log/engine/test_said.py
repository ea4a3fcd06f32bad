"""A server that is away is tried twenty times a second, and told of once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import psycopg
import pytest

from services.pusher.log.engine.said import TriesAgain
from services.pusher.log.jetstream.connecting import AwayError, Connection
from services.pusher.log.jetstream.settings import JetstreamSettings
from services.pusher.log.jetstream.stream import Stream
from services.pusher.log.postgresql.connecting import Connecting
from services.pusher.log.postgresql.settings import PostgresqlSettings
from services.pusher.log.postgresql.writing import Writer
from services.pusher.log.store import StoreFullError
from services.shared.seldom import AGAIN_S

logger = logging.getLogger("tests.said")


@pytest.fixture(autouse=True)
def all_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


class Said:
    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.tries_again = TriesAgain(logger, lambda: self.now_s)


def test_the_same_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    said = Said()
    for _ in range(3 * 20 * round(AGAIN_S)):
        said.tries_again.because("the server is away")
        said.now_s += 0.05
    assert caplog.messages == ["the server is away; tries again"] * 3


def test_a_change_is_told_at_once_and_two_in_turns_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    said = Said()
    for _ in range(100):
        said.tries_again.because("one is away")
        said.tries_again.because("both are away")
    assert caplog.messages == ["one is away; tries again", "both are away; tries again"]


def test_errors_that_are_always_others_do_not_fill_it_either(caplog: pytest.LogCaptureFixture) -> None:
    said = Said()
    for number in range(1_000):
        said.tries_again.because(f"connection {number} is away")
    assert len(caplog.messages) == 20
    said.now_s += AGAIN_S
    said.tries_again.because("another one")
    assert len(caplog.messages) == 21


def test_that_it_is_over_is_told_once_and_only_of_what_was_told(caplog: pytest.LogCaptureFixture) -> None:
    said = Said()
    said.tries_again.over("the server")
    assert caplog.messages == []
    for _ in range(10):  # comes and goes
        said.tries_again.because("it is away")
        said.tries_again.over("the server")
        said.tries_again.over("the server")
    assert caplog.messages == ["it is away; tries again", "the server answers again"]


def test_any_thread_may_tell(caplog: pytest.LogCaptureFixture) -> None:
    said = Said()
    begin = threading.Barrier(8)

    def tell() -> None:
        begin.wait()
        for _ in range(50):
            said.tries_again.because("it is away")

    threads = [threading.Thread(target=tell) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert caplog.messages == ["it is away; tries again"]


def test_a_patient_call_to_nats_that_is_away_writes_one_line(caplog: pytest.LogCaptureFixture) -> None:
    settings = JetstreamSettings()
    connection = Connection("nats://127.0.0.1:4222", settings)  # is never asked for
    stream = Stream(connection, settings)
    try:
        _is_told_once(
            caplog,
            lambda call: stream.patiently(call, 0.2),
            lambda: stream.tries_again.waits_for,
            AwayError("no answer", was_sent=False),
        )
    finally:
        connection.close()


def test_a_patient_call_to_postgresql_that_is_away_writes_one_line(caplog: pytest.LogCaptureFixture) -> None:
    settings = PostgresqlSettings(log_patience_s=0.2)
    writer = Writer(Connecting("postgresql://pusher@db1/company", settings), settings)
    try:
        _is_told_once(caplog, writer.patiently, lambda: writer.waits_for, psycopg.OperationalError("no answer"))
    finally:
        writer.close()


def _is_told_once(
    caplog: pytest.LogCaptureFixture,
    patiently: Callable[[Callable[[], int]], int],
    waits_for: Callable[[], str],
    error: Exception,
) -> None:
    calls = 0

    def away() -> int:
        nonlocal calls
        calls += 1
        raise error

    with pytest.raises(StoreFullError):
        patiently(away)
    assert calls > 1
    assert "no answer" in waits_for()
    (line,) = [line for line in caplog.messages if line.endswith("tries again")]
    assert "no answer" in line
    assert patiently(lambda: 7) == 7
    assert waits_for() == ""
    assert caplog.messages[-1].endswith("answers again")
