"""What is between a pusher and PostgreSQL: a pooler that gives each transaction another session, TLS, a password."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench.cluster.cluster import free_port
from bench.rivals.postgres_replicas import ReplicatedPostgres, replicated_postgres
from fasttree.v1 import pusher_pb2
from services.pusher.log.postgresql.store import PostgresqlLog
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import DeposedError, LogEnds, LogStoreError, StoredImport
from tests.postgresql_server import SETTINGS
from tests.pusher.updates import ids_and_contents, order, orders
from tests.waiting import blocking_until

_POOLER = """
[databases]
postgres = host={server} port=5432 dbname=postgres user=postgres
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = 5432
auth_type = any
pool_mode = transaction
default_pool_size = 2
logfile = {folder}/pooler.log
pidfile = {folder}/pooler.pid
"""


@pytest.fixture
def pooler(server: ReplicatedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real pgbouncer, with fewer sessions than there are connections to it."""
    folder = server.folder / "pooler"
    folder.mkdir()
    settings = folder / "pooler.ini"
    settings.write_text(_POOLER.format(server=server.folder, folder=folder))
    if os.geteuid() == 0:
        for each in (folder, settings):
            shutil.chown(each, "postgres")
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "needs pgbouncer: apt-get install pgbouncer"
    user = "postgres" if os.geteuid() == 0 else None
    process = subprocess.Popen([program, settings], user=user, cwd=folder)

    def listens() -> bool:
        assert process.poll() is None, f"pgbouncer ended with {process.returncode}"
        return (folder / ".s.PGSQL.5432").exists()

    try:
        blocking_until(listens, "pgbouncer")
        yield folder
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def test_a_pooler_may_give_each_transaction_another_session(
    pooler: Path, settings: LogSettings, tmp_path: Path
) -> None:
    pooled = msgspec.structs.replace(settings, log_url=f"postgresql:///postgres?user=postgres&host={pooler}")
    stores = [PostgresqlLog(tmp_path, pooled, "test") for _ in range(4)]
    for turn, store in enumerate(stores):
        store.claim(turn + 1, str(turn))
        store.append(*ids_and_contents(orders(turn * 10, 10)), [0])
        store.save_import(StoredImport(pusher_pb2.ImportStatus(), taken=False))
        store.trim(turn * 10 + 5, 100)
        assert list(store.append(*ids_and_contents([order(0)])).positions) == [1]
        store.tend()
    last = stores[-1]
    for store in stores[:-1]:
        with pytest.raises(DeposedError):
            store.append(*ids_and_contents([order(100)]))
        store.follow(40, 1)
        assert store.ends() == last.ends() == LogEnds(35, 40)
        assert store.read(35, 40, 1 << 20).data == last.read(35, 40, 1 << 20).data
        assert [position for position, _ in store.rule_records()] == [1, 11, 21, 31]
    for store in stores:
        store.close()


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[ReplicatedPostgres, int]]:
    """A server that takes nobody without TLS and a password, and its port on loopback."""
    with replicated_postgres(SETTINGS, standbys=()) as made:
        port = free_port()
        # One port for both kinds of sockets: the rig's own one moves with it.
        made.run(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost", "-keyout", made.folder / "key.pem",
            "-out", made.folder / "certificate.pem",
        )  # fmt: skip
        made.psql("CREATE ROLE fasttree LOGIN PASSWORD 'open sesame'; GRANT CREATE ON DATABASE postgres TO fasttree;")
        data = made.folder / "primary"
        with (data / "postgresql.conf").open("a") as text:
            text.write(
                f"listen_addresses = '127.0.0.1'\nssl = on\nssl_cert_file = '{made.folder}/certificate.pem'\n"
                f"ssl_key_file = '{made.folder}/key.pem'\n"
            )
        (data / "pg_hba.conf").write_text("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
        made.stop()
        made.first_port = port
        made.start_one("primary")
        yield made, port


def guarded_settings(guarded: tuple[ReplicatedPostgres, int], folder: Path, **query: str) -> LogSettings:
    _, port = guarded
    words = "&".join(f"{name}={value}" for name, value in query.items())
    (folder / "password").write_text("open sesame\n")
    text = {
        "log_store": "postgresql",
        "log_url": f"postgresql://fasttree@localhost:{port}/postgres?{words}",
        "postgresql": {"log_password_file": str(folder / "password"), "log_patience_s": 0.5},
    }
    return msgspec.convert(text, LogSettings)


def test_tls_is_checked_and_a_password_comes_from_its_file(
    guarded: tuple[ReplicatedPostgres, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = guarded
    checked = guarded_settings(
        guarded, tmp_path, sslmode="verify-full", sslrootcert=str(server.folder / "certificate.pem")
    )
    store = PostgresqlLog(tmp_path, checked, "test").claim_alone()
    store.append(*ids_and_contents(orders(0, 10)))
    encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'fasttree'"
    assert server.psql(encrypted) == "t"
    store.close()
    for wrong, words in (
        (guarded_settings(guarded, tmp_path, sslmode="disable"), "no encryption"),
        (guarded_settings(guarded, tmp_path, sslmode="verify-full", sslrootcert="/nowhere"), "nowhere"),
    ):
        with pytest.raises(LogStoreError, match=words):
            PostgresqlLog(tmp_path, wrong, "test")
    (tmp_path / "password").write_text("not sesame\n")
    with pytest.raises(LogStoreError, match="password authentication failed") as refused:
        PostgresqlLog(tmp_path, checked, "test")
    assert "sesame" not in str(refused.value)
    # As for every client of PostgreSQL, it may be in the environment.
    monkeypatch.setenv("PGPASSWORD", "open sesame")
    options = msgspec.structs.replace(checked.postgresql, log_password_file="")
    PostgresqlLog(tmp_path, msgspec.structs.replace(checked, postgresql=options), "test").close()
