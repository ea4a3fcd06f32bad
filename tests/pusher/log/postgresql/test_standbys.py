"""Two synchronous standbys: the machine of the server is lost, a standby is promoted, and nothing acknowledged is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.rivals.postgres_replicas import STANDBYS, ReplicatedPostgres, replicated_postgres
from fasttree.v1 import treenode_pb2, types_pb2
from services.pusher.log.postgresql.store import PostgresqlLog
from services.pusher.log.store import LogStore, OutcomeUnknownError
from tests.postgresql_server import SETTINGS, fresh_settings
from tests.pusher.updates import ids_and_contents, order, orders
from tests.waiting import blocking_until


@pytest.fixture
def servers() -> Iterator[ReplicatedPostgres]:
    with replicated_postgres(SETTINGS, synchronous_commit="on") as made:
        yield made


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


def test_the_server_is_killed_and_a_standby_promoted_while_updates_come(
    servers: ReplicatedPostgres, tmp_path: Path
) -> None:
    settings = fresh_settings(servers, log_patience_s=60.0)
    store = PostgresqlLog(tmp_path, settings, "test").claim_alone()
    promise = store.durability()
    assert promise.survives_machine_loss
    assert "'2 (standby1, standby2)' (synchronous_commit on)" in promise.description
    pusher = Pusher(store)
    blocking_until(lambda: len(pusher.acknowledged) >= 300, "updates")
    servers.kill("primary")
    servers.promote(STANDBYS[0])
    before = len(pusher.acknowledged)
    blocking_until(lambda: len(pusher.acknowledged) >= before + 300, "updates at the promoted one")
    pusher.ended = True
    pusher.join()
    # By itself it found the promoted one, and went on in its turn: no position twice, none left out.
    assert [position for position, _ in pusher.acknowledged] == list(range(1, len(pusher.acknowledged) + 1))
    assert ids_from(store, 1) == [update_id for _, update_id in pusher.acknowledged]
    assert store.epoch == 1
    # The promoted one has no standby yet: that is told, too.
    store._looks_again_at_s = 0.0
    store.tend()
    assert not store.durability().survives_machine_loss
    assert "it has no synchronous standby" in store.durability().description
    store.close()


def test_what_no_standby_confirmed_is_not_acknowledged(servers: ReplicatedPostgres, tmp_path: Path) -> None:
    settings = fresh_settings(servers, log_patience_s=4.0, log_statement_timeout_s=1.0)
    store = PostgresqlLog(tmp_path, settings, "test").claim_alone()
    store.append(*ids_and_contents(orders(0, 10)))
    for name in STANDBYS:
        servers.kill(name)
    # PostgreSQL itself would say that it is committed, with a warning, when the time is over.
    with pytest.raises(OutcomeUnknownError):
        store.append(*ids_and_contents([order(10)]))
    assert store.epoch == 0
    for name in STANDBYS:
        servers.start_one(name)
    store.claim_alone()
    assert store.ends().last == 11
    assert list(store.append(*ids_and_contents([order(10), order(11)])).positions) == [11, 12]
    store.close()


def test_a_wait_for_the_standbys_that_somebody_cancels_is_no_receipt(
    servers: ReplicatedPostgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = fresh_settings(servers, log_patience_s=60.0, log_statement_timeout_s=30.0)
    store = PostgresqlLog(tmp_path, settings, "test").claim_alone()
    for name in STANDBYS:
        servers.kill(name)
    acknowledged: list[int] = []
    ids, contents = ids_and_contents([order(0)])
    late = threading.Thread(target=lambda: acknowledged.extend(store.append(ids, contents).positions))
    late.start()

    def waits() -> bool:
        return servers.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "1"

    blocking_until(waits, "a commit that waits for the standbys")
    servers.psql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    blocking_until(lambda: "canceling wait" in caplog.text, "the warning")
    blocking_until(waits, "the look-up, which waits for the standbys as well")
    assert acknowledged == []
    for name in STANDBYS:
        servers.start_one(name)
    late.join()
    assert acknowledged == [1]
    store.close()
