"""The coordinators' record on a real PostgreSQL: rights, servers that freeze or are lost, and what nobody confirmed."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.rivals.postgres_replicas import ReplicatedPostgres, replicated_postgres
from services.coordinator.election.events import Recorded
from services.coordinator.stores.lease_store import LeaseStore
from services.coordinator.stores.postgresql import PostgresqlLease
from services.coordinator.stores.postgresql_settings import PostgresqlSettings
from services.coordinator.stores.postgresql_table import coordinators_sql
from services.coordinator.stores.store import StoreConflictError, StoreError
from tests.conformance.test_cluster_stores import held
from tests.postgresql_server import SETTINGS
from tests.waiting import until

FIRST = Recorded(epoch=1, primary="a", primary_incarnation="a1")
SECOND = replace(FIRST, epoch=2, primary="b")
CLUSTER = "dot-test"
_numbers = itertools.count(1)


@pytest.fixture
def schema(postgresql: ReplicatedPostgres) -> Iterator[str]:
    name = f"coordinators_{next(_numbers)}"
    yield name
    postgresql.psql(f"SET client_min_messages = error; DROP SCHEMA IF EXISTS {name} CASCADE;")


def lease(
    server: ReplicatedPostgres, schema: str, user: str = "postgres", cluster: str = "dot-test"
) -> PostgresqlLease:
    settings = PostgresqlSettings(postgresql_url=server.url(user), postgresql_schema=schema)
    return PostgresqlLease(settings, cluster, 1.0)


async def test_a_role_that_may_make_no_table_is_told_what_to_run_and_needs_no_more(
    postgresql: ReplicatedPostgres, schema: str
) -> None:
    role = f"role_{schema}"
    postgresql.psql(f"CREATE ROLE {role} LOGIN")
    with pytest.raises(StoreError, match=r"permission denied.*`fasttree log schema --coordinator`"):
        await held(lease(postgresql, schema, role), "dot-test")
    postgresql.psql(coordinators_sql(schema, role))
    store = await held(lease(postgresql, schema, role), "dot-test")
    await store.save(FIRST, Recorded())
    other = await held(lease(postgresql, schema, role, "another"), "another")
    assert (await store.load(), await other.load()) == (FIRST, Recorded())
    await store.close()
    await other.close()
    postgresql.psql(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_two_that_start_together_make_one_table(postgresql: ReplicatedPostgres, schema: str) -> None:
    leases = [lease(postgresql, schema) for _ in range(4)]
    assert await asyncio.gather(*(each.get() for each in leases)) == [None] * 4
    about = {"metadata": {"name": "dot-test"}}
    made = await asyncio.gather(*(each.create(about) for each in leases), return_exceptions=True)
    assert sorted(isinstance(each, StoreConflictError) for each in made) == [False, True, True, True]
    for each in leases:
        await each.close()


@pytest.mark.parametrize(("text", "said"), [("no JSON", "can't be read"), ('{"metadata": 7}', "holds something else")])
async def test_a_row_that_says_something_else_is_left_alone(
    postgresql: ReplicatedPostgres, schema: str, text: str, said: str
) -> None:
    kept = lease(postgresql, schema)
    await kept.get()
    postgresql.psql(f"INSERT INTO {schema}.coordinators VALUES ('dot-test', 'v', '{text}')")
    with pytest.raises(StoreError, match=rf"record of dot-test in {schema}.*{said}.*coordinator\.postgresql_schema"):
        await kept.get()
    assert postgresql.psql(f"SELECT lease FROM {schema}.coordinators") == text
    await kept.close()


@pytest.mark.parametrize("table", ["(x int)", "(cluster int, version text, lease text)"])
async def test_a_table_of_something_else_is_left_alone(postgresql: ReplicatedPostgres, schema: str, table: str) -> None:
    postgresql.psql(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.coordinators {table}")
    kept = lease(postgresql, schema)
    words = (
        rf"schema {schema} at .* has something else that is called coordinators .*set another coordinator\.postgresql_"
    )
    for anew in (False, True):
        with pytest.raises(StoreError, match=words):
            await kept.get(anew=anew)
    await kept.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "postgresql://fasttree@db1",
            "coordinator.postgresql_url names no database: write postgresql://ROLE@HOST/DATABA",
        ),
        ("postgresql:///company", "coordinator.postgresql_url must name a server"),
        ("no url", "coordinator.postgresql_url must name a server"),
        ("postgresql://a:open-sesame@db/company", "name a file of it in coordinator.postgresql_password_file"),
    ],
)
def test_an_address_that_is_none(url: str, said: str) -> None:
    with pytest.raises(StoreError) as caught:
        PostgresqlLease(PostgresqlSettings(postgresql_url=url), "dot-test", 1.0)
    assert said in str(caught.value)
    assert "sesame" not in str(caught.value)


async def test_a_password_file_that_is_gone_is_named(postgresql: ReplicatedPostgres, tmp_path: Path) -> None:
    settings = PostgresqlSettings(postgresql_url=postgresql.url(), postgresql_password_file=str(tmp_path / "none"))
    kept = PostgresqlLease(settings, "dot-test", 1.0)
    with pytest.raises(StoreError, match=r"coordinator\.postgresql_password_file.*none can't be read"):
        await kept.get()
    await kept.close()


# ---- a server that is not well ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def servers() -> Iterator[ReplicatedPostgres]:
    """One, and two standbys that each commit waits for."""
    with replicated_postgres(SETTINGS, synchronous_commit="on") as made:
        yield made


@pytest.fixture
def cluster() -> str:
    return f"dot-{next(_numbers)}"


@pytest.fixture
async def store(servers: ReplicatedPostgres, cluster: str) -> AsyncIterator[LeaseStore]:
    held_store = await held(lease(servers, "coordinators", cluster=cluster), cluster)
    await held_store.save(FIRST, Recorded())
    yield held_store
    await held_store.close()


async def saved(store: LeaseStore, recorded: Recorded, expected: Recorded) -> bool:
    """As the active coordinator does: what failed is looked up, and tried again."""
    try:
        if await store.load() != recorded:
            await store.save(recorded, expected)
    except StoreConflictError:
        raise
    except StoreError:
        return False
    return True


def backends(servers: ReplicatedPostgres) -> list[int]:
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'fasttree-coordinator'"
    return [int(pid) for pid in servers.psql(query).split()]


async def test_a_server_that_freezes_costs_a_second_a_call(servers: ReplicatedPostgres, store: LeaseStore) -> None:
    (frozen,) = backends(servers)
    os.kill(frozen, signal.SIGSTOP)
    with pytest.raises(StoreError, match="no answer in"):
        await store.save(SECOND, FIRST)
    # The next one has another session, which waits for nothing that the frozen one holds.
    assert await store.load() == FIRST
    servers.psql(f"SELECT pg_terminate_backend({frozen})")
    os.kill(frozen, signal.SIGCONT)
    await until(lambda: saved(store, SECOND, FIRST), "a write")


async def test_what_no_standby_confirmed_counts_for_nothing_until_one_does(
    servers: ReplicatedPostgres, store: LeaseStore, cluster: str
) -> None:
    standbys = servers.names[1:]
    for name in standbys:
        servers.kill(name)
    with pytest.raises(StoreError, match="no answer"):
        await store.save(SECOND, FIRST)
    # Somebody ends the wait: from then on the server shows what it alone has, and so does nobody who asks here.
    servers.psql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    shown = f"SELECT lease LIKE '%epoch__:2%' FROM coordinators.coordinators WHERE cluster = '{cluster}'"
    await until(lambda: servers.psql(shown) == "t", "what was committed there")
    with pytest.raises(StoreError, match="no answer"):
        await store.load()
    for name in standbys:
        servers.start_one(name)
    await until(lambda: saved(store, SECOND, FIRST), "a write that they confirm")
    assert await store.load() == SECOND


async def test_a_wait_for_the_standbys_that_somebody_ends_is_no_confirmation(
    servers: ReplicatedPostgres,
) -> None:
    kept = lease(servers, "coordinators", cluster=f"dot-{next(_numbers)}")
    await kept.get()
    standbys = servers.names[1:]
    for name in standbys:
        servers.kill(name)
    making = asyncio.create_task(kept.create({"metadata": {"name": "x"}}))
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    await until(lambda: servers.psql(waits) == "1", "a commit that waits for the standbys")
    servers.psql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    with pytest.raises(StoreError, match="has not confirmed a write: canceling wait"):
        await making
    for name in standbys:
        servers.start_one(name)
    await kept.close()
