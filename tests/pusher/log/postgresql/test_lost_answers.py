"""A commit without an answer is looked up, never guessed: stored once, or not at all, and known which."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench.rivals.postgres_replicas import ReplicatedPostgres
from services.pusher.log.fencing.fence import Fence
from services.pusher.log.postgresql.store import PostgresqlLog
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import DeposedError, LogEnds, OutcomeUnknownError, StoreFullError
from tests.pusher.log.postgresql.cutting import PostgresqlProxy
from tests.pusher.updates import ids_and_contents, order, orders


@pytest.fixture
def proxy(server: ReplicatedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlProxy]:
    made = PostgresqlProxy(tmp_path_factory.mktemp("way"), server.folder / ".s.PGSQL.5432")
    yield made
    made.close()


def through(proxy: PostgresqlProxy, settings: LogSettings, log_patience_s: float = 5.0) -> LogSettings:
    postgresql = msgspec.structs.replace(settings.postgresql, log_patience_s=log_patience_s)
    url = f"postgresql:///postgres?user=postgres&host={proxy.folder}"
    return msgspec.structs.replace(settings, log_url=url, postgresql=postgresql)


@pytest.fixture
def log(proxy: PostgresqlProxy, settings: LogSettings, tmp_path: Path) -> Iterator[PostgresqlLog]:
    store = PostgresqlLog(tmp_path, through(proxy, settings), "test")
    store.claim(1, "a")
    store.append(*ids_and_contents(orders(0, 3)))
    yield store
    store.close()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_an_append_whose_answer_is_lost_is_there_once(log: PostgresqlLog, proxy: PostgresqlProxy, cut: str) -> None:
    for turn in range(3):
        proxy.cut = cut
        appended = log.append(*ids_and_contents(orders(3 + 2 * turn, 2)))
        assert list(appended.positions) == [4 + 2 * turn, 5 + 2 * turn]
        assert appended.duplicates == frozenset()
        assert appended.run is not None
        assert proxy.cuts == turn + 1
    assert log.ends() == LogEnds(1, 9)
    assert log.read(1, 9, 1 << 20).last_position == 9
    assert log.append(*ids_and_contents(orders(0, 9))).duplicates == frozenset(range(9))


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_trim_whose_answer_is_lost_is_done_once(log: PostgresqlLog, proxy: PostgresqlProxy, cut: str) -> None:
    proxy.cut = cut
    assert log.trim(3, 100) == 2
    assert log.ends() == LogEnds(3, 3)
    assert list(log.append(*ids_and_contents([order(0), order(7)])).positions) == [1, 4]


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_claim_whose_answer_is_lost_is_made_again(log: PostgresqlLog, proxy: PostgresqlProxy, cut: str) -> None:
    proxy.cut = cut
    log.claim(2, "a")
    assert log.fence() == Fence(2, "a", 2 if cut == "before" else 3)
    assert list(log.append(*ids_and_contents([order(3)])).positions) == [4]


@pytest.mark.parametrize("cut", ["before", "after"])
def test_where_it_can_not_be_found_out_nobody_is_told_that_it_is_known(
    proxy: PostgresqlProxy, settings: LogSettings, tmp_path: Path, cut: str
) -> None:
    store = PostgresqlLog(tmp_path, through(proxy, settings, log_patience_s=0.5), "test")
    store.claim(1, "a")
    store.append(*ids_and_contents(orders(0, 3)))
    proxy.cut, proxy.down = cut, True
    with pytest.raises(OutcomeUnknownError):
        store.append(*ids_and_contents([order(3)]))
    proxy.down = False
    # Nothing is built upon what is not known.
    assert store.epoch == 0
    with pytest.raises(DeposedError):
        store.append(*ids_and_contents([order(4)]))
    store.claim(1, "a")
    assert store.ends().last == (3 if cut == "before" else 4)
    again = store.append(*ids_and_contents([order(3)]))
    assert list(again.positions) == [4]
    assert again.duplicates == (frozenset() if cut == "before" else {0})
    store.close()


def test_one_that_was_deposed_meanwhile_is_not_told_that_its_write_was_stored(
    log: PostgresqlLog, proxy: PostgresqlProxy, settings: LogSettings, tmp_path: Path
) -> None:
    (tmp_path / "b").mkdir()
    other = PostgresqlLog(tmp_path / "b", settings, "test")
    proxy.cut, proxy.down = "after", True
    told: list[Exception] = []

    def append() -> None:
        try:
            log.append(*ids_and_contents([order(3)]))
        except OutcomeUnknownError as error:
            told.append(error)

    late = threading.Thread(target=append)
    late.start()
    while not proxy.cuts:
        late.join(0.01)
    other.claim(2, "b")
    proxy.down = False
    late.join()
    assert len(told) == 1
    # It is in the log, and whoever pushes it again to the active one hears where.
    assert list(other.append(*ids_and_contents([order(3), order(4)])).positions) == [4, 5]
    with pytest.raises(DeposedError):
        log.append(*ids_and_contents([order(5)]))
    other.close()


def test_a_server_that_is_away_takes_nothing_and_goes_on_when_it_is_back(
    proxy: PostgresqlProxy, settings: LogSettings, tmp_path: Path
) -> None:
    store = PostgresqlLog(tmp_path, through(proxy, settings, log_patience_s=0.3), "test").claim_alone()
    proxy.down = True
    for each in list(proxy._sockets):
        each.close()
    with pytest.raises(StoreFullError, match="see to the server"):
        store.append(*ids_and_contents([order(0)]))
    assert store.epoch == 1
    proxy.down = False
    assert list(store.append(*ids_and_contents([order(0)])).positions) == [1]
    store.close()
