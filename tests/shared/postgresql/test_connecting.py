"""Connections to whichever of several servers takes writes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import psycopg
import pytest

from bench.cluster.cluster import free_port
from bench.rivals.postgres_replicas import ReplicatedPostgres
from services.shared.postgresql.connecting import Server, each_server


def server(url: str) -> Server:
    return Server(
        url,
        setting="url",
        password_file="",
        password_setting="password_file",
        connect_timeout_s=600.0,
        application="test",
    )


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


async def test_one_that_says_nothing_and_one_that_is_not_there_hold_up_nobody(
    postgresql: ReplicatedPostgres, silent_port: int
) -> None:
    hosts = f"127.0.0.1,127.0.0.1,{postgresql.folder}"
    url = f"postgresql:///postgres?user=postgres&host={hosts}&port={silent_port},{free_port()},5432"
    connection = await server(url).connect_soon()
    async with connection.cursor() as cursor:
        await cursor.execute("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        assert await cursor.fetchall() == [("test",)]
    await connection.close()


async def test_nobody_there_is_told_with_all_that_was_tried() -> None:
    ports = [free_port(), free_port()]
    with pytest.raises(psycopg.OperationalError) as caught:
        await server(f"postgresql://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}/a").connect_soon()
    assert all(str(port) in str(caught.value) for port in ports)


async def test_whoever_stops_waiting_leaves_no_connection(silent_port: int) -> None:
    connecting = asyncio.create_task(server(f"postgresql://127.0.0.1:{silent_port}/a").connect_soon())
    await asyncio.sleep(0)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"host": "a"}, [{"host": "a"}]),
        ({"service": "s"}, [{"service": "s"}]),
        ({"host": "a,b", "user": "u"}, [{"host": "a", "user": "u"}, {"host": "b", "user": "u"}]),
        ({"host": "a,b", "port": "1"}, [{"host": "a", "port": "1"}, {"host": "b", "port": "1"}]),
        ({"host": "a,b", "port": "1,2"}, [{"host": "a", "port": "1"}, {"host": "b", "port": "2"}]),
        (
            {"host": "a,b", "hostaddr": "1.1.1.1,"},
            [{"host": "a", "hostaddr": "1.1.1.1"}, {"host": "b", "hostaddr": ""}],
        ),
        # libpq says what is wrong with these.
        ({"host": "a,b", "port": "1,2,3"}, [{"host": "a,b", "port": "1,2,3"}]),
        ({"host": "a", "hostaddr": "1.1.1.1,2.2.2.2"}, [{"host": "a", "hostaddr": "1.1.1.1,2.2.2.2"}]),
    ],
)
def test_each_host_has_its_own_port(given: dict[str, str], expected: list[dict[str, str]]) -> None:
    assert each_server(given) == expected
