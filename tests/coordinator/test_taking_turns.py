"""Several coordinators over one real store, in turns: etcd, PostgreSQL with a standby that is promoted."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from bench.cluster.cluster import free_port
from bench.rivals.postgres_replicas import ReplicatedPostgres, replicated_postgres
from bench.servers.etcd_members import running_etcd
from fasttree.client import Client, Endpoints
from fasttree.client.status.servers import server_json
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.coordinator.app import start_one_of_several
from services.coordinator.leadership.leadership import State
from services.coordinator.leadership.runner import LeadershipRunner
from services.coordinator.settings import CoordinatorSettings
from services.coordinator.stores.postgresql import PostgresqlLease
from services.coordinator.stores.postgresql_settings import PostgresqlSettings
from services.coordinator.stores.store import StoreConflictError, StoreError
from services.shared.config.sections import ClusterSettings
from services.shared.serving.channels import open_channel
from tests.postgresql_server import SETTINGS
from tests.waiting import until

#: Where the record is, as settings.
Store = Mapping[str, Any]


@pytest.fixture
def promotable() -> Iterator[ReplicatedPostgres]:
    """A server, and a standby that each commit waits for."""
    with replicated_postgres(SETTINGS, standbys=("standby1",), synchronous_commit="on") as servers:
        yield servers


@pytest.fixture(params=["etcd", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").url()
        yield {"store": "postgresql", "postgresql_url": url, "postgresql_schema": "turns"}
        return
    (tmp_path / "etcd").mkdir()
    with running_etcd(tmp_path / "etcd", members=3) as etcd:
        yield {"store": "etcd", "etcd_endpoints": etcd.endpoints}


@contextlib.asynccontextmanager
async def one_of_several(store: Store, folder: Path, name: str) -> AsyncIterator[tuple[LeadershipRunner, str]]:
    port = free_port()
    settings = CoordinatorSettings.of(
        name=name,
        port=port,
        http_port=free_port(),
        state_folder=str(folder),
        **store,
    )
    (folder / "hosts").write_text("# none\n")
    cluster = ClusterSettings(name="dot-test", hosts_file=str(folder / "hosts"))
    runner = await start_one_of_several(cluster, settings)
    try:
        yield runner, f"127.0.0.1:{port}"
    finally:
        await runner.stop()
        assert runner.background.error is None


async def test_one_acts_and_another_says_what_it_said_and_where_it_is(store: Store, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as first:
        active, address = await first.enter_async_context(one_of_several(store, tmp_path, "c-0"))
        await until(lambda: active.core.state is State.ACTIVE, "the first one to act")
        async with (
            one_of_several(store, tmp_path, "c-1") as (_, other),
            Client(Endpoints(coordinator=f"{other},{address}")) as client,
            open_channel(other) as channel,
        ):
            stub: Any = coordinator_pb2_grpc.CoordinatorServiceStub(channel)

            async def told() -> bool:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    answer = await stub.GetCluster(coordinator_pb2.GetClusterRequest(), timeout=10.0)
                    says = f"this coordinator stands by: c-0 is active at {address}"
                    return bool(answer.cluster.standby == says and answer.cluster.coordinator == address)
                return False

            await until(told, "the other one to say what the active one says")
            with pytest.raises(grpc.aio.AioRpcError, match="c-0 is active at"):
                await stub.Pause(coordinator_pb2.PauseRequest())
            # The client comes from the one to the other by itself, to act and to watch.
            await client.pause()
            assert (await anext(aiter(client.watch_cluster()))).paused
            await client.resume()
            # Whoever ends in good order is replaced at once, and the client goes along. What was mistyped in the host
            # file meanwhile ends nobody who is to take over.
            (tmp_path / "hosts").write_text("mistyped\n")
            await first.aclose()
            await client.pause()
            assert (await client.get_cluster()).coordinator == other


async def test_postgresql_is_lost_and_a_standby_promoted(promotable: ReplicatedPostgres, tmp_path: Path) -> None:
    """None acts while nobody can write, then one does, by what was recorded."""
    schema = "turns"
    store: Store = {"store": "postgresql", "postgresql_url": promotable.url(), "postgresql_schema": schema}
    settings = PostgresqlSettings(postgresql_url=promotable.url(), postgresql_schema=schema)
    async with (
        one_of_several(store, tmp_path, "c-0") as (one, first),
        one_of_several(store, tmp_path, "c-1") as (two, second),
        Client(Endpoints(coordinator=f"{first},{second}")) as client,
    ):

        def acting() -> int:
            return [one.core.state, two.core.state].count(State.ACTIVE)

        await until(lambda: acting() == 1, "one to act")
        await client.pause()
        # A row that nobody writes: of a coordinator that is long gone.
        still = PostgresqlLease(settings, "still", 1.0)
        before = await still.create({"metadata": {"name": "still"}})

        promotable.kill("primary")
        await until(lambda: acting() == 0, "the active one to step down, since it can't write")

        async def both_are_told() -> bool:
            said = await client.get_each_cluster(1.0)
            return [server_json(*each)["state"] for each in said.items()] == ["unfit", "unfit"]

        await until(both_are_told, "both to say that they can't see which one is active")
        promotable.promote("standby1")
        await until(lambda: acting() == 1, "one to act again")
        assert (await client.get_cluster()).paused
        await client.resume()

        # The same row is another state at another server, which might lack what was written last: whoever waits for a
        # lease to end waits anew, and no write goes by the old one.
        after = await _soon(still)
        versions = [about["metadata"].pop("resourceVersion") for about in (before, after)]
        assert before == after
        assert versions[0] != versions[1]
        with pytest.raises(StoreConflictError):
            await still.replace({"metadata": {"name": "still", "resourceVersion": versions[0]}})
        await still.replace({"metadata": {"name": "still", "resourceVersion": versions[1]}})
        await still.close()


async def _soon(lease: PostgresqlLease) -> dict[str, Any]:
    """What it holds, once the promoted one is found."""
    found: list[dict[str, Any]] = []

    async def read() -> bool:
        with contextlib.suppress(StoreError):
            found.append(await lease.get() or {})
        return bool(found)

    await until(read, "the promoted one")
    return found[0]
