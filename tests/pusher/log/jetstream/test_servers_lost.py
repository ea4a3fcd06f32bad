"""Servers are killed, frozen and brought back while updates come: nothing acknowledged is lost, nothing is twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import msgspec
import pytest

from bench.servers.nats_servers import NatsServers
from fasttree.v1 import treenode_pb2, types_pb2
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import LogStore, LogStoreError, StoreFullError
from tests.pusher.log.jetstream.conftest import Opener
from tests.pusher.updates import ids_and_contents, orders
from tests.waiting import blocking_until


def ids_from(store: LogStore, first_position: int) -> list[str]:
    found: list[str] = []
    while first_position <= store.ends().last:
        run = store.read(first_position, store.ends().last, 1 << 20)
        records = treenode_pb2.ApplyUpdatesRequest.FromString(run.data).records
        found += [types_pb2.Update.FromString(record.update).update_id for record in records]
        first_position = run.last_position + 1
    return found


class Pusher(threading.Thread):
    """Appends without end, ten at a time; keeps what was acknowledged."""

    def __init__(self, store: LogStore) -> None:
        super().__init__(daemon=True)
        self._store = store
        self.ended = False
        self.acknowledged: list[tuple[int, str]] = []
        self.start()

    def run(self) -> None:
        number = 0
        while not self.ended:
            ids, contents = ids_and_contents(orders(number, 10))
            positions = self._store.append(ids, contents).positions
            self.acknowledged += zip(positions, ids, strict=True)
            number += 10


@pytest.fixture
def servers(jetstream: NatsServers) -> Iterator[NatsServers]:
    """Whole again at the end, for whoever comes next."""
    yield jetstream
    jetstream.mend()


@pytest.fixture
def patient(settings: LogSettings) -> LogSettings:
    """Longer than the servers take to find a leader on the slowest machine."""
    return msgspec.structs.replace(
        settings, jetstream=msgspec.structs.replace(settings.jetstream, nats_patience_s=60.0)
    )


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_the_leader_is_lost_while_updates_come(
    servers: NatsServers, patient: LogSettings, opened: Opener, how: str
) -> None:
    store = opened(patient).claim_alone()
    pusher = Pusher(store)
    blocking_until(lambda: len(pusher.acknowledged) >= 300, "updates")
    leader = servers.leader(patient.jetstream.nats_stream)
    if how == "killed":
        servers.kill(leader)
    else:
        servers.freeze(leader)
    before = len(pusher.acknowledged)
    blocking_until(lambda: len(pusher.acknowledged) >= before + 300, "updates at the others")
    pusher.ended = True
    pusher.join()
    assert [position for position, _ in pusher.acknowledged] == list(range(1, len(pusher.acknowledged) + 1))
    assert ids_from(store, 1) == [update_id for _, update_id in pusher.acknowledged]
    assert store.epoch == 1
    # One that was lost says nothing else when it is back, whoever is asked.
    servers.mend()
    again = opened(patient)
    assert ids_from(again, 1) == [update_id for _, update_id in pusher.acknowledged]


def test_without_a_majority_nothing_is_taken_and_it_goes_on_when_it_is_back(
    servers: NatsServers, settings: LogSettings, opened: Opener
) -> None:
    impatient = msgspec.structs.replace(
        settings,
        jetstream=msgspec.structs.replace(settings.jetstream, nats_patience_s=1.0, nats_request_timeout_s=0.5),
    )
    store = opened(impatient).claim_alone()
    store.append(*ids_and_contents(orders(0, 100)))
    servers.freeze("n2")
    servers.freeze("n3")
    with pytest.raises(LogStoreError):
        store.append(*ids_and_contents(orders(100, 10)))
    with pytest.raises(StoreFullError):
        store.claim(1)
    servers.mend()
    other = opened().claim_alone()
    # It may be there, or not; whoever sends it again hears where it is.
    assert other.ends().last in (100, 110)
    assert list(other.append(*ids_and_contents(orders(90, 30))).positions) == list(range(91, 121))
    assert ids_from(other, 1) == [f"order-{number}" for number in range(120)]


def test_a_bit_that_flipped_on_one_server_is_nowhere_to_be_seen(
    servers: NatsServers, patient: LogSettings, opened: Opener
) -> None:
    """Jepsen's fault of 2.12.1: what is behind such a bit was lost, and where that server led, for all."""
    store = opened(patient).claim_alone()
    for number in range(30):
        store.append(*ids_and_contents(orders(100 * number, 100)))
    stream = patient.jetstream.nats_stream
    victim = next(name for name in servers.names if name != servers.leader(stream))
    servers.kill(victim)
    block = servers.blocks(victim, stream)[0]
    data = bytearray(block.read_bytes())
    data[len(data) // 2] ^= 1
    block.write_bytes(data)
    for index in block.parent.glob("index.db"):  # so that it reads its blocks anew
        index.unlink()
    servers.mend()
    leader = servers.leader(stream)
    servers.kill(leader)
    blocking_until(lambda: servers.leader(stream) not in ("", leader), "another leader")
    servers.mend()
    store.append(*ids_and_contents(orders(3000, 10)))
    for reader in (store, opened(patient), opened(patient)):
        assert ids_from(reader, 1) == [f"order-{number}" for number in range(3010)]
        assert reader.damage.count(1) == 0
