"""What a log in JetStream alone can do wrong: streams that forget, damage, servers that are set otherwise."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import msgspec
import pytest

from services.pusher.log.ids.archive import IdArchive, run_path
from services.pusher.log.jetstream.connecting import Connection
from services.pusher.log.jetstream.messages import Draft, record_drafts
from services.pusher.log.jetstream.store import JetstreamLog
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import (
    LogDamagedError,
    LogEnds,
    LogGoneError,
    LogStoreError,
    StoreFullError,
)
from services.shared.wire.record import encode_frames
from tests.jetstream_servers import asked
from tests.pusher.log.jetstream.conftest import Opener
from tests.pusher.updates import ids_and_contents, order, orders


def with_options(settings: LogSettings, **options: object) -> LogSettings:
    return msgspec.structs.replace(settings, jetstream=msgspec.structs.replace(settings.jetstream, **options))


def put(store: JetstreamLog, first: int, count: int) -> None:
    store.append(*ids_and_contents(orders(first, count)))


def test_a_log_that_is_opened_again_has_it_all(opened: Opener, tmp_path: Path) -> None:
    store = opened(folder=tmp_path).claim_alone()
    put(store, 0, 30)
    store.trim(11, 100)
    put(store, 30, 30)
    store.close()
    again = opened(folder=tmp_path)
    assert again.vouched_for
    assert again.ends() == LogEnds(11, 60)
    again.claim_alone()
    assert list(again.append(*ids_and_contents([order(3), order(40), order(60)])).positions) == [4, 41, 61]


@pytest.mark.parametrize("left", ["ahead of the stream", "behind it", "damaged"])
def test_an_index_that_a_killed_pusher_left_counts_for_nothing(opened: Opener, tmp_path: Path, left: str) -> None:
    """The ids are made from the stream at each start: what lies on the disk may be older, newer or broken."""
    place = tmp_path / "machine"
    store = opened(folder=place).claim_alone()
    store.append(*ids_and_contents(orders(0, 30)))
    store.close()
    index = place / "jetstream-ids"
    ids, contents = ids_and_contents(orders(0, 10 if left == "behind it" else 60))
    row = IdArchive(index, []).write(ids, contents, 1)
    if left == "damaged":
        run_path(index, row.number).write_bytes(b"no run of ids")
    again = opened(folder=place).claim_alone()
    assert again.find(ids) == set(ids[:30])
    appended = again.append(*ids_and_contents(orders(20, 20)))
    assert list(appended.positions) == list(range(21, 41))
    assert appended.duplicates == frozenset(range(10))


def test_an_append_of_more_than_a_message_holds_is_whole(opened: Opener) -> None:
    store = opened().claim_alone()
    names = [f"order-{number}" for number in range(300)]
    contents = [bytes([number % 256]) * 9_000 for number in range(300)]
    store.append(names, contents, [299])
    assert store.ends() == LogEnds(1, 300)
    run = store.read(1, 300, 4 << 20)
    assert run.last_position == 300
    reader = opened()
    assert reader.ends() == LogEnds(1, 300)
    assert reader.update_id_at(177) == "order-176"


def test_half_an_append_counts_for_nobody(opened: Opener) -> None:
    """The second half of a group never came: its writer died, or was deposed."""
    store = opened().claim_alone()
    put(store, 0, 3)
    ids, contents = ids_and_contents(orders(3, 2))
    half = record_drafts(4, ids, [1, 2], encode_frames(4, contents))
    writer = store._writer
    from services.pusher.log.jetstream.messages import Message

    known = writer.contents
    message = Message(half[0], 1, known.sequence, known.sequence, known.number, 0.0, closes=False)
    store._stream.publish(known.sequence, [(half[0].kind, message.encode())])
    other = opened()
    assert other.ends() == LogEnds(1, 3)
    assert other.find(["order-3"]) == set()
    # Its own writer finds it in its way, and goes on behind it; so does the next one.
    assert list(store.append(*ids_and_contents(orders(3, 3))).positions) == [4, 5, 6]
    other.claim(2, "b")
    assert other.ends() == LogEnds(1, 6)
    assert list(other.append(*ids_and_contents(orders(5, 2))).positions) == [6, 7]


def damaged(first: int, count: int, bad: int) -> list[Draft]:
    ids, contents = ids_and_contents(orders(first, count))
    frames = encode_frames(first + 1, contents)
    frames[bad] = frames[bad][:-7] + bytes([frames[bad][-7] ^ 1]) + frames[bad][-6:]
    return record_drafts(first + 1, ids, [1] * count, frames)


def test_a_damaged_record_is_named_and_the_others_are_read(opened: Opener) -> None:
    store = opened().claim_alone()
    put(store, 0, 10)
    store.write(damaged(10, 10, 4))
    put(store, 20, 10)
    for reader in (store, opened()):
        run = reader.read(1, 30, 1 << 20)
        assert run.last_position in (10, 14)
        assert reader.read(11, 30, 1 << 20).last_position == 14
        with pytest.raises(LogDamagedError, match="log record at position 15 is damaged") as found:
            reader.read(15, 30, 1 << 20)
        assert found.value.position == 15
        assert reader.read(16, 30, 1 << 20).first_position == 16
        assert reader.update_id_at(15) == "order-14"
        assert reader.damage.count(1) == 1
        assert reader.find(["order-14"]) == {"order-14"}


def test_records_that_are_gone_from_the_stream_are_missed(opened: Opener, settings: LogSettings) -> None:
    store = opened().claim_alone()
    put(store, 0, 10)
    put(store, 10, 10)
    put(store, 20, 10)
    sequence = store._contents.sequence - 1
    asked(settings, "STREAM.MSG.DELETE", {"seq": sequence})
    reader = opened()
    assert reader.ends() == LogEnds(1, 30)
    assert reader.damage.count(1) == 1
    assert reader.read(5, 30, 1 << 20).last_position == 10
    with pytest.raises(LogDamagedError, match="position 11 is missing"):
        reader.read(11, 30, 1 << 20)
    assert reader.read(21, 30, 1 << 20).last_position == 30
    with pytest.raises(LogDamagedError, match="11 to 20 are missing"):
        reader.claim(2, "b")
    # Who has the ids goes on.
    put(store, 30, 1)


def test_state_that_is_gone_from_the_stream_is_missed(opened: Opener, settings: LogSettings) -> None:
    store = opened().claim_alone()
    put(store, 0, 1)
    store.adopt("another", [store.log_id], "as a test")
    put(store, 1, 1)
    asked(settings, "STREAM.MSG.DELETE", {"seq": store._contents.sequence - 1})
    with pytest.raises(LogDamagedError, match="lacks messages of state"):
        opened()


def test_a_stream_that_lost_its_end_takes_nothing(opened: Opener, settings: LogSettings, tmp_path: Path) -> None:
    store = opened(with_options(settings, nats_patience_s=1.0), folder=tmp_path).claim_alone()
    put(store, 0, 10)
    asked(settings, "STREAM.DELETE", {})
    with pytest.raises((LogGoneError, StoreFullError)):
        put(store, 10, 1)
    store.close()
    look = r"see to pusher\.log_url and pusher\.nats_stream first; where they are right, bring "
    with pytest.raises(LogDamagedError, match=rf"updates up to 10 were acknowledged: {look}it back"):
        opened(folder=tmp_path)
    other = opened().claim_alone()  # somebody begins a new one
    put(other, 0, 3)
    with pytest.raises(LogDamagedError, match=rf"is another log .*log\.end: {look}back a whole copy of the stream, or"):
        opened(folder=tmp_path)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"max_age": 10**12}, "max_age"),
        ({"storage": "memory"}, "storage memory"),
        ({"max_msgs": 100}, "max_msgs"),
        ({"discard": "old"}, "discard old"),
        ({"allow_direct": False}, "allow_direct"),
    ],
)
def test_a_stream_that_forgets_by_itself_is_refused(
    opened: Opener, settings: LogSettings, config: dict[str, object], words: str
) -> None:
    make_stream(settings, **config)
    with pytest.raises(LogStoreError, match=words):
        opened()


def make_stream(settings: LogSettings, **config: object) -> None:
    name = settings.jetstream.nats_stream
    whole = {"name": name, "subjects": [f"{name}.*"], "num_replicas": 1, "storage": "file", "discard": "new"}
    assert "error" not in asked(settings, "STREAM.CREATE", {**whole, "allow_direct": True, **config})


def test_what_else_lies_in_a_stream_is_left_alone(opened: Opener, settings: LogSettings) -> None:
    make_stream(settings)
    connection = Connection(settings.log_url, settings.jetstream)
    connection.request(f"{settings.jetstream.nats_stream}.state", b"somebody's order")
    connection.close()
    with pytest.raises(LogStoreError, match="holds something else than a log"):
        opened()


def test_a_log_of_another_cluster_is_refused(opened: Opener, settings: LogSettings, tmp_path: Path) -> None:
    opened()
    with pytest.raises(LogStoreError, match="holds the log of cluster test, not of other"):
        JetstreamLog(tmp_path, settings, "other")


def test_what_is_promised_is_what_stream_and_servers_are_set_to(
    opened: Opener, settings: LogSettings, caplog: pytest.LogCaptureFixture
) -> None:
    assert (
        opened(with_options(settings, nats_monitoring_urls=""))
        .durability()
        .description.endswith("is not known (nats_monitoring_urls)")
    )
    promise = opened().durability()
    assert promise.survives_machine_loss
    assert "a write waits for the disks of 2 of 3 servers" in promise.description
    make_stream(with_options(settings, nats_stream="thin"))
    with caplog.at_level(logging.WARNING):
        thin = opened(with_options(settings, nats_stream="thin"))
    assert "has 1 replicas, not 3" in caplog.text
    assert not thin.durability().survives_machine_loss
    assert "the stream has one replica" in thin.durability().description
    asked(with_options(settings, nats_stream="thin"), "STREAM.DELETE", {})


def test_more_replicas_than_servers_are_not_made(opened: Opener, settings: LogSettings) -> None:
    with pytest.raises(LogStoreError, match="can't be made with 5 replicas: no suitable peers"):
        opened(with_options(settings, nats_replicas=5))


def test_a_full_stream_refuses_and_harms_nothing(opened: Opener, settings: LogSettings) -> None:
    name = settings.jetstream.nats_stream
    make_stream(settings, max_bytes=150_000)
    store = opened().claim_alone()
    put(store, 0, 100)
    with pytest.raises(StoreFullError, match="maximum bytes exceeded"):
        store.append([f"big-{number}" for number in range(60)], [b"x" * 16_000] * 60)
    assert store.ends() == LogEnds(1, 100)
    put(store, 100, 10)
    with pytest.raises(StoreFullError):
        while True:
            put(store, store.ends().last, 10)
    with pytest.raises(StoreFullError):
        store.try_room()
    last = store.ends().last
    # The same one may begin again: its claim goes with its first write.
    again = opened().claim_alone()
    assert again.epoch == 1
    config = asked(settings, "STREAM.INFO", {})["config"]
    assert "error" not in asked(settings, "STREAM.UPDATE", {**config, "max_bytes": 10_000_000}), json.dumps(name)
    again.try_room()
    put(again, last, 10)
    assert again.ends() == LogEnds(1, last + 10)
    assert again.fence().claims == 2


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nats://fasttree:secret@127.0.0.1:4222", "holds a password"),
        ("nats://", "must name servers"),
        ("postgresql://127.0.0.1/x", "must name servers"),
    ],
)
def test_addresses_that_can_be_none(tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(LogStoreError, match=words) as refused:
        JetstreamLog(tmp_path, LogSettings(log_store="jetstream", log_url=url), "test")
    assert "secret" not in str(refused.value)
