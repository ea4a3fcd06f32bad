"""What every ClusterStore must do; each backend is held to the same tests."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.servers.etcd_members import Etcd, running_etcd
from services.coordinator.election.events import Recorded
from services.coordinator.stores.etcd import EtcdLease
from services.coordinator.stores.etcd_client import EtcdClient
from services.coordinator.stores.etcd_settings import EtcdSettings
from services.coordinator.stores.kubernetes import KubernetesLease
from services.coordinator.stores.lease_store import LeaseObject, LeaseStore
from services.coordinator.stores.postgresql import PostgresqlLease
from services.coordinator.stores.postgresql_settings import PostgresqlSettings
from services.coordinator.stores.shared import SharedRecord
from services.coordinator.stores.sqlite import SqliteStore
from services.coordinator.stores.store import ClusterStore, MemoryStore, StoreConflictError, StoreError
from services.shared.kubernetes.access import ServiceAccount
from services.shared.kubernetes.api import KubernetesApi
from tests.fakes.api_server import fake_api_server, service_account

FIRST = Recorded(epoch=1, primary="a", primary_incarnation="a1")
SECOND = Recorded(epoch=2, primary="b", primary_incarnation="b1", paused=True)

#: Opens the same store again, as a process that starts does.
Open = Callable[[], Awaitable[ClusterStore]]


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """A real one of three members."""
    with running_etcd(tmp_path_factory.mktemp("etcd"), members=3) as running:
        yield running


@pytest.fixture(params=["memory", "sqlite", "kubernetes", "etcd", "postgresql"])
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    memory = MemoryStore()

    async def open_memory() -> ClusterStore:
        return memory

    async def open_sqlite() -> ClusterStore:
        return SqliteStore(tmp_path / "coordinator.sqlite", "dot-test")

    async with fake_api_server() as server:

        async def open_kubernetes() -> ClusterStore:
            return await held_lease(server.url, service_account(tmp_path / "account"))

        key = f"/fasttree/dot-test/{next(_PROCESSES)}"

        async def open_etcd() -> ClusterStore:
            return await held_key(request.getfixturevalue("etcd").endpoints, key)

        async def open_postgresql() -> ClusterStore:
            url = request.getfixturevalue("postgresql").url()
            return await held(PostgresqlLease(PostgresqlSettings(postgresql_url=url), key, 5.0), "dot-test")

        every = {
            "memory": open_memory,
            "sqlite": open_sqlite,
            "kubernetes": open_kubernetes,
            "etcd": open_etcd,
            "postgresql": open_postgresql,
        }
        yield every[request.param]


_PROCESSES = itertools.count()


async def held_lease(url: str, account: Path, cluster: str = "dot-test") -> LeaseStore:
    """The store of a process that is the active coordinator, as one that has just taken its turn."""
    api = KubernetesApi(url, ServiceAccount(account), 10.0)
    return await held(KubernetesLease(api, "coordinator"), cluster)


async def held_key(endpoints: list[str], key: str, cluster: str = "dot-test") -> LeaseStore:
    """The same, where the lease is kept in etcd."""
    return await held(EtcdLease(EtcdClient(EtcdSettings(etcd_endpoints=endpoints), 5.0), key), cluster)


async def held(kept: LeaseObject, cluster: str) -> LeaseStore:
    store = LeaseStore(kept, cluster, f"coordinator_{next(_PROCESSES)}", 4, timeout_s=1.0)
    await store.acquire((await store.read()).version)
    return store


async def test_a_new_store_has_nothing_recorded(open_store: Open) -> None:
    store = await open_store()
    assert await store.load() == Recorded()
    await store.close()


async def test_what_was_saved_is_there_after_a_restart(open_store: Open) -> None:
    store = await open_store()
    await store.save(FIRST, Recorded())
    await store.save(SECOND, FIRST)
    assert await store.load() == SECOND
    await store.close()
    again = await open_store()
    assert await again.load() == SECOND
    await again.close()


@pytest.mark.parametrize(
    "expected",
    [
        Recorded(),
        Recorded(epoch=1, primary="b", primary_incarnation="a1"),
        Recorded(epoch=1, primary="a", primary_incarnation="a2"),
        Recorded(epoch=1, primary="a", primary_incarnation="a1", paused=True),
        Recorded(epoch=2, primary="a", primary_incarnation="a1"),
    ],
    ids=lambda recorded: f"{recorded.epoch}{recorded.primary_incarnation}{'p' * recorded.paused}",
)
async def test_a_save_that_expects_something_else_changes_nothing(open_store: Open, expected: Recorded) -> None:
    store = await open_store()
    await store.save(FIRST, Recorded())
    with pytest.raises(StoreConflictError):
        await store.save(SECOND, expected)
    assert await store.load() == FIRST
    await store.close()


async def test_of_two_coordinators_one_wins(open_store: Open) -> None:
    one, other = await open_store(), await open_store()
    outcomes = await asyncio.gather(one.save(FIRST, Recorded()), other.save(SECOND, Recorded()), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [StoreConflictError]
    winner = FIRST if outcomes[0] is None else SECOND
    assert await one.load() == await other.load() == winner
    await one.close()
    await other.close()


async def test_the_epoch_never_goes_down(open_store: Open) -> None:
    store = await open_store()
    await store.save(SECOND, Recorded())
    with pytest.raises(StoreConflictError):
        await store.save(FIRST, SECOND)
    assert await store.load() == SECOND
    await store.close()


async def test_the_active_pusher_is_recorded_beside_and_its_epoch_never_goes_down(open_store: Open) -> None:
    store = await open_store()
    with_pusher = replace(FIRST, pusher_epoch=3, pusher="p1", pusher_incarnation="i1", pusher_address="127.0.0.1:50300")
    await store.save(FIRST, Recorded())
    await store.save(with_pusher, FIRST)
    assert await store.load() == with_pusher
    with pytest.raises(StoreConflictError):
        await store.save(SECOND, FIRST)
    with pytest.raises(StoreConflictError):
        await store.save(replace(with_pusher, pusher_epoch=2), with_pusher)
    assert await store.load() == with_pusher
    await store.close()
    again = await open_store()
    assert await again.load() == with_pusher
    await again.close()


async def test_two_parts_of_one_record_never_undo_each_other(open_store: Open) -> None:
    store = await open_store()
    record = SharedRecord(store)
    pusher = Recorded(pusher_epoch=1, pusher="p1", pusher_incarnation="i1", pusher_address="127.0.0.1:50300")
    await asyncio.gather(record.nodes.save(FIRST, Recorded()), record.pushers.save(pusher, Recorded()))
    assert (await record.nodes.load(), await record.pushers.load()) == (FIRST, pusher)
    with pytest.raises(StoreConflictError):
        await record.pushers.save(replace(pusher, pusher_epoch=2), Recorded())
    await record.nodes.save(SECOND, FIRST)
    later = replace(pusher, pusher_epoch=2, pusher="p2")
    await record.pushers.save(later, pusher)
    assert (await record.nodes.load(), await record.pushers.load()) == (SECOND, later)
    assert await store.load() == replace(
        SECOND, pusher_epoch=2, pusher="p2", pusher_incarnation="i1", pusher_address="127.0.0.1:50300"
    )
    await store.close()


async def test_odd_names_come_back_as_they_were(open_store: Open) -> None:
    odd = Recorded(epoch=2**62, primary="'); DROP TABLE recorded; --", primary_incarnation="%s\\")
    store = await open_store()
    await store.save(odd, Recorded())
    assert await store.load() == odd
    await store.close()


async def test_what_is_stored_already_may_be_saved_again(open_store: Open) -> None:
    store = await open_store()
    await store.save(FIRST, Recorded())
    await store.save(FIRST, FIRST)
    with pytest.raises(StoreConflictError):
        await store.save(SECOND, SECOND)
    assert await store.load() == FIRST
    await store.close()


# ---- what only the file can do ---------------------------------------------------------------------------------------


async def test_another_clusters_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.sqlite"
    await SqliteStore(path, "dot-live").close()
    with pytest.raises(StoreError, match="belongs to cluster dot-live, not dot-test"):
        SqliteStore(path, "dot-test")


@pytest.mark.parametrize("damage", [b"not a database at all, but long enough to be one" * 40, b"SQLite format 3\0torn"])
async def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "coordinator.sqlite"
    path.write_bytes(damage)
    with pytest.raises(StoreError, match=r"coordinator\.sqlite: .* move the file away"):
        SqliteStore(path, "dot-test")
    assert path.read_bytes() == damage


async def test_a_file_of_a_version_before_there_were_several_pushers_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.sqlite"
    earlier = sqlite3.connect(path, isolation_level=None)
    earlier.execute(
        "CREATE TABLE recorded (cluster TEXT PRIMARY KEY NOT NULL, epoch INTEGER NOT NULL, primary_node TEXT NOT NULL,"
        " primary_incarnation TEXT NOT NULL, paused INTEGER NOT NULL) STRICT"
    )
    earlier.execute("INSERT INTO recorded VALUES ('dot-test', 1, 'a', 'a1', 0)")
    earlier.close()
    store = SqliteStore(path, "dot-test")
    assert await store.load() == FIRST
    await store.save(SECOND, FIRST)
    assert await store.load() == SECOND
    await store.close()


@pytest.mark.parametrize("column", ["epoch", "pusher_epoch"])
async def test_an_epoch_that_no_election_came_to_is_refused_before_anybody_hears_of_it(
    tmp_path: Path, column: str
) -> None:
    path = tmp_path / "coordinator.sqlite"
    await SqliteStore(path, "dot-live").close()
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute(f"UPDATE recorded SET {column} = {2**63 - 1}")
        file.commit()
    store = SqliteStore(path, "dot-live")
    with pytest.raises(StoreError, match=r"is damaged: epoch 9223372036854775807 is no election's; move the file away"):
        await store.load()
    await store.close()


async def test_a_locked_file_is_a_problem_of_now(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.sqlite"
    store = SqliteStore(path, "dot-test")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError) as caught:
        await store.save(FIRST, Recorded())
    assert not isinstance(caught.value, StoreConflictError)
    other.execute("ROLLBACK")
    other.close()
    await store.save(FIRST, Recorded())
    assert await store.load() == FIRST
    await store.close()


async def test_what_is_stored_already_is_written_all_the_same(tmp_path: Path) -> None:
    """So that a store that can't be written is found out before anything depends on it."""
    path = tmp_path / "coordinator.sqlite"
    store = SqliteStore(path, "dot-test")
    await store.save(FIRST, Recorded())
    path.rename(tmp_path / "away")
    path.mkdir()
    with pytest.raises(StoreError, match="removed or moved while it is in use"):
        await store.save(FIRST, FIRST)
    path.rmdir()
    (tmp_path / "away").rename(path)
    await store.save(FIRST, FIRST)
    assert await store.load() == FIRST
    await store.close()


# ---- what only the fake can do ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_write", [False, True])
async def test_a_fault_before_or_after_the_write(after_write: bool) -> None:
    store = MemoryStore()
    store.fault, store.fault_after_write = "disk full", after_write
    with pytest.raises(StoreError, match="disk full"):
        await store.save(FIRST, Recorded())
    assert await store.load() == (FIRST if after_write else Recorded())


async def test_nothing_is_saved_in_a_file_that_is_no_longer_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.sqlite"
    store = SqliteStore(path, "dot-test")
    await store.save(FIRST, Recorded())
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="it was removed or moved while it is in use; put it back, or start"):
        await store.save(SECOND, FIRST)
    (tmp_path / "elsewhere").rename(path)
    assert await store.load() == FIRST
    await store.save(SECOND, FIRST)
    assert await store.load() == SECOND
    await store.close()
