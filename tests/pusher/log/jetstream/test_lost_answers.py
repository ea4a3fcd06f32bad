"""A message without an answer is looked up, never guessed: stored once, or not at all, and known which."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import msgspec
import pytest

from bench.servers.nats_servers import NatsServers
from services.pusher.log.fencing.fence import Fence
from services.pusher.log.jetstream.store import JetstreamLog
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import DeposedError, LogEnds, OutcomeUnknownError, StoreFullError
from tests.pusher.log.jetstream.conftest import Opener
from tests.pusher.log.jetstream.cutting import NatsProxy
from tests.pusher.updates import ids_and_contents, order, orders

BOTH = pytest.mark.parametrize("cut", ["before", "after"])


@pytest.fixture
def proxy(jetstream: NatsServers, settings: LogSettings) -> Iterator[NatsProxy]:
    made = NatsProxy(jetstream.ports["n1"], settings.jetstream.nats_stream)
    yield made
    made.close()


def through(proxy: NatsProxy, settings: LogSettings, **options: float) -> LogSettings:
    return msgspec.structs.replace(
        settings, log_url=proxy.url, jetstream=msgspec.structs.replace(settings.jetstream, **options)
    )


@pytest.fixture
def log(proxy: NatsProxy, settings: LogSettings, opened: Opener) -> JetstreamLog:
    store = opened(through(proxy, settings))
    store.claim(1, "a")
    store.append(*ids_and_contents(orders(0, 3)))
    return store


@BOTH
def test_an_append_whose_answer_is_lost_is_there_once(log: JetstreamLog, proxy: NatsProxy, cut: str) -> None:
    for turn in range(3):
        proxy.cut = cut
        appended = log.append(*ids_and_contents(orders(3 + 2 * turn, 2)))
        assert list(appended.positions) == [4 + 2 * turn, 5 + 2 * turn]
        assert appended.duplicates == frozenset()
        assert proxy.cuts == turn + 1
    assert log.ends() == LogEnds(1, 9)
    assert log.read(1, 9, 1 << 20).last_position == 9
    assert log.append(*ids_and_contents(orders(0, 9))).duplicates == frozenset(range(9))


@BOTH
def test_a_trim_whose_answer_is_lost_is_done_once(log: JetstreamLog, proxy: NatsProxy, cut: str) -> None:
    proxy.cut = cut
    assert log.trim(3, 100) == 2
    assert log.ends() == LogEnds(3, 3)
    assert list(log.append(*ids_and_contents([order(0), order(7)])).positions) == [1, 4]


@BOTH
def test_a_claim_whose_answer_is_lost_is_made_once(log: JetstreamLog, proxy: NatsProxy, cut: str) -> None:
    proxy.cut = cut
    log.claim(2, "a")
    assert log.fence() == Fence(2, "a", 2)
    assert list(log.append(*ids_and_contents([order(3)])).positions) == [4]


@BOTH
def test_where_it_can_not_be_found_out_nobody_is_told_that_it_is_known(
    proxy: NatsProxy, settings: LogSettings, opened: Opener, cut: str
) -> None:
    store = opened(through(proxy, settings, nats_patience_s=0.5))
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


def test_one_that_was_deposed_meanwhile_is_not_told_that_its_write_was_stored(
    log: JetstreamLog, proxy: NatsProxy, opened: Opener
) -> None:
    other = opened()
    proxy.cut, proxy.down = "before", True
    told: list[Exception] = []

    def append() -> None:
        try:
            log.append(*ids_and_contents([order(3)]))
        except DeposedError as error:
            told.append(error)

    late = threading.Thread(target=append)
    late.start()
    while not proxy.cuts:
        late.join(0.01)
    other.claim(2, "b")
    proxy.down = False
    late.join()
    assert [(type(error), error.epoch) for error in told if isinstance(error, DeposedError)] == [(DeposedError, 2)]
    assert list(other.append(*ids_and_contents([order(4), order(3)])).positions) == [4, 5]
    with pytest.raises(DeposedError):
        log.append(*ids_and_contents([order(5)]))


def test_servers_that_are_away_take_nothing_and_it_goes_on_when_they_are_back(
    proxy: NatsProxy, settings: LogSettings, opened: Opener
) -> None:
    store = opened(through(proxy, settings, nats_patience_s=0.3)).claim_alone()
    proxy.down = True
    proxy.hang_up()
    with pytest.raises(StoreFullError, match="see to the servers"):
        store.append(*ids_and_contents([order(0)]))
    assert store.epoch == 1
    proxy.down = False
    assert list(store.append(*ids_and_contents([order(0)])).positions) == [1]
