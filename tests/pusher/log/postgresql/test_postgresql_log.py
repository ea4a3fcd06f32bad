"""What only a log in PostgreSQL can suffer: others' schemas, rights, damage, a frozen writer."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from pathlib import Path

import msgspec
import psycopg
import pytest

from bench.rivals.postgres_replicas import ReplicatedPostgres
from fasttree.v1 import pusher_pb2
from services.pusher.log.postgresql.connecting import Connecting
from services.pusher.log.postgresql.settings import PostgresqlSettings
from services.pusher.log.postgresql.store import PostgresqlLog
from services.pusher.log.postgresql.tables import VERSION, schema_sql
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import (
    DeposedError,
    LogDamagedError,
    LogEnds,
    LogStoreError,
    StoredImport,
)
from tests.postgresql_server import schema_settings
from tests.pusher.updates import ids_and_contents, order, orders


def test_everything_is_there_after_a_restart(settings: LogSettings, tmp_path: Path) -> None:
    first = PostgresqlLog(tmp_path, settings, "test").claim_alone()
    assert not first.vouched_for
    first.append(*ids_and_contents(orders(0, 3000)))
    first.close()
    second = PostgresqlLog(tmp_path, settings, "test").claim_alone()
    assert (second.log_id, second.ends(), second.vouched_for) == (first.log_id, LogEnds(1, 3000), True)
    assert second.append(*ids_and_contents([order(17)])).duplicates == {0}
    second.tend()
    assert second.size_bytes() > 100_000
    second.close()


def test_another_clusters_schema_and_a_newer_one_are_refused(
    settings: LogSettings, server: ReplicatedPostgres, tmp_path: Path
) -> None:
    PostgresqlLog(tmp_path, settings, "o'hara").close()
    PostgresqlLog(tmp_path, settings, "o'hara").close()
    with pytest.raises(LogStoreError, match=r"of cluster o'hara, not of test: set log_schema"):
        PostgresqlLog(tmp_path, settings, "test")
    schema = settings.postgresql.log_schema
    server.psql(f"UPDATE {schema}.meta SET value = '{VERSION + 1}' WHERE name = 'version'")
    with pytest.raises(LogStoreError, match="use a newer one"):
        PostgresqlLog(tmp_path, settings, "o'hara")


def test_pushers_that_start_together_make_one_log(settings: LogSettings, tmp_path: Path) -> None:
    opened: list[PostgresqlLog] = []
    threads = [
        threading.Thread(target=lambda: opened.append(PostgresqlLog(tmp_path, settings, "test"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({store.log_id for store in opened}) == 1
    assert len(opened) == 4
    for store in opened:
        store.close()


def test_a_pusher_needs_no_more_than_it_is_granted(
    settings: LogSettings, server: ReplicatedPostgres, tmp_path: Path
) -> None:
    schema = settings.postgresql.log_schema
    role = f"pusher_of_{schema}"
    server.psql(f"CREATE ROLE {role} LOGIN")
    its = msgspec.structs.replace(settings, log_url=server.url(user=role))
    with pytest.raises(LogStoreError, match="`fasttree log schema` prints"):
        PostgresqlLog(tmp_path, its, "test")
    server.psql(schema_sql(schema, "test", role))
    store = PostgresqlLog(tmp_path, its, "test").claim_alone()
    store.append(*ids_and_contents(orders(0, 10)), [3])
    store.trim(5, 100)
    store.save_import(StoredImport(pusher_pb2.ImportStatus(), taken=False))
    store.adopt("another", [store.log_id], "as a test")
    store.try_room()
    store.tend()
    assert list(store.append(*ids_and_contents([order(1), order(10)])).positions) == [2, 11]
    # One that was taken away is missed by whoever looks for room, too: nobody has to push to find it given back.
    server.psql(f"REVOKE INSERT ON {schema}.records FROM {role}")
    for call in (lambda: store.append(*ids_and_contents([order(11)])), store.try_room):
        with pytest.raises(LogStoreError, match="permission denied for table records; grant what"):
            call()
    server.psql(f"GRANT INSERT ON {schema}.records TO {role}")
    store.try_room()
    assert list(store.append(*ids_and_contents([order(11)])).positions) == [12]
    store.close()
    with psycopg.connect(its.log_url, autocommit=True) as connection:
        for statement in (
            f"CREATE TABLE {schema}.more (a int)",
            f"DROP TABLE {schema}.kept_ids",
            f"TRUNCATE {schema}.records",
            "CREATE SCHEMA more",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    server.psql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_damaged_record_is_named_and_never_passed_over(
    settings: LogSettings, server: ReplicatedPostgres, tmp_path: Path
) -> None:
    store = PostgresqlLog(tmp_path, settings, "test").claim_alone()
    store.append(*ids_and_contents(orders(0, 100)))
    records = f"{settings.postgresql.log_schema}.records"
    server.psql(f"UPDATE {records} SET frame = set_byte(frame, 12, get_byte(frame, 12) # 16) WHERE position = 50")
    server.psql(f"DELETE FROM {records} WHERE position = 70")
    with pytest.raises(LogDamagedError, match="position 50") as damaged:
        store.read(1, 60, 1 << 20)
    assert damaged.value.position == 50
    with pytest.raises(LogDamagedError, match="position 70 is missing"):
        store.read(60, 100, 1 << 20)
    with pytest.raises(LogDamagedError, match="position 50"):
        store.append(*ids_and_contents([order(49)]))
    with pytest.raises(LogDamagedError, match="1 are missing"):
        store.trim(80, 100)
    assert store.ends() == LogEnds(1, 100)
    assert store.damage.count(1) == 3  # the trim names the first of its records
    store.close()


def test_a_server_that_lost_the_end_of_the_log_takes_nothing(
    settings: LogSettings, server: ReplicatedPostgres, tmp_path: Path
) -> None:
    store = PostgresqlLog(tmp_path, settings, "test").claim_alone()
    store.append(*ids_and_contents(orders(0, 100)))
    schema = settings.postgresql.log_schema
    for table in ("records", "kept_ids"):
        server.psql(f"DELETE FROM {schema}.{table} WHERE position > 90")
    server.psql(f"UPDATE {schema}.fence SET last = 90")
    with pytest.raises(LogDamagedError, match="ends at position 90, but 100 was acknowledged"):
        store.append(*ids_and_contents([order(100)]))
    store.close()
    with pytest.raises(LogDamagedError, match="100 was acknowledged") as told:
        PostgresqlLog(tmp_path, settings, "test")
    assert "log restore" not in str(told.value)


def test_another_log_in_the_schema_is_told_by_the_settings_that_lead_to_it(
    settings: LogSettings, server: ReplicatedPostgres, tmp_path: Path
) -> None:
    store = PostgresqlLog(tmp_path, settings, "test").claim_alone()
    store.append(*ids_and_contents(orders(0, 10)))
    store.close()
    with schema_settings(server) as other, pytest.raises(LogDamagedError) as told:
        PostgresqlLog(tmp_path, other, "test")
    schema = re.escape(other.postgresql.log_schema)
    assert re.match(
        rf"schema {schema} at \S+ is another log \(\w+\) than the one that receipts were given from, up to position "
        r"10, by \S+log\.end: see to pusher\.log_url and pusher\.log_schema first; where they are right, bring back a "
        r"whole copy of the schema, or, to go on with what is there, remove \S+log\.end: the nodes say",
        str(told.value),
    )


@pytest.mark.parametrize(
    "table",
    [
        "records (x int)",
        "meta (x int)",
        "meta (name text, value text)",
        "meta (name, value) AS VALUES ('version', '1.2.0')",
        "meta (name, value) AS VALUES ('version', '1')",
    ],
)
def test_a_schema_of_something_else_is_left_alone(
    settings: LogSettings, server: ReplicatedPostgres, tmp_path: Path, table: str
) -> None:
    schema = settings.postgresql.log_schema
    server.psql(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.{table}")
    with pytest.raises(LogStoreError) as told:
        PostgresqlLog(tmp_path, settings, "test")
    assert str(told.value) == f"schema {schema} has tables that are no log of FastTree: set another log_schema"
    assert server.psql(f"SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}'") == "1"


def test_a_claim_ends_a_writer_whose_machine_went_in_the_middle_of_a_copy(
    server: ReplicatedPostgres, settings: LogSettings, tmp_path: Path
) -> None:
    """Nothing else would: while a COPY waits for its client, no limit of PostgreSQL's counts."""
    options = msgspec.structs.replace(settings.postgresql, log_idle_in_transaction_s=60.0, log_statement_timeout_s=60.0)
    settings = msgspec.structs.replace(settings, postgresql=options)
    old = PostgresqlLog(tmp_path, settings, "test")
    old.claim(1, "a")
    schema = settings.postgresql.log_schema
    (tmp_path / "b").mkdir()
    with psycopg.connect(server.url()) as gone, gone.cursor() as cursor:
        cursor.execute(f'SELECT last FROM "{schema}".fence FOR UPDATE')
        with (
            contextlib.suppress(psycopg.OperationalError),
            cursor.copy(f'COPY "{schema}".records FROM STDIN') as copying,
        ):
            # From here on it says nothing, and its connection stands.
            new = PostgresqlLog(tmp_path / "b", settings, "test")
            new.claim(2, "b")
            assert list(new.append(*ids_and_contents(orders(10, 2))).positions) == [1, 2]
            copying.write(b"too late")
        assert gone.closed
    with pytest.raises(DeposedError):
        old.append(*ids_and_contents(orders(0, 5)))
    assert new.ends() == LogEnds(1, 2)
    old.close()
    new.close()


def test_a_writer_that_froze_in_the_middle_holds_nobody_up_for_long_and_writes_nothing(
    server: ReplicatedPostgres, settings: LogSettings, tmp_path: Path
) -> None:
    options = msgspec.structs.replace(settings.postgresql, log_idle_in_transaction_s=0.3)
    settings = msgspec.structs.replace(settings, postgresql=options)
    old = PostgresqlLog(tmp_path, settings, "test")
    old.claim(1, "a")
    frozen, go_on = threading.Event(), threading.Event()
    copied = PostgresqlLog.write
    told: list[BaseException] = []

    def append() -> None:
        try:
            old.append(*ids_and_contents(orders(0, 5)))
        except DeposedError as error:
            told.append(error)

    def freeze(store: PostgresqlLog, body: object) -> object:
        def slowly(transaction: object) -> object:
            result = body(transaction)  # type: ignore[operator]
            frozen.set()
            go_on.wait(20)
            return result

        return copied(store, slowly)

    old.write = freeze.__get__(old)  # type: ignore[method-assign]
    late = threading.Thread(target=append)
    late.start()
    assert frozen.wait(20)
    (tmp_path / "b").mkdir()
    new = PostgresqlLog(tmp_path / "b", settings, "test")
    new.claim(2, "b")
    assert list(new.append(*ids_and_contents(orders(10, 2))).positions) == [1, 2]
    go_on.set()
    late.join()
    assert len(told) == 1
    assert new.ends() == LogEnds(1, 2)
    assert new.find(["order-0"]) == set()
    old.close()
    new.close()


@pytest.mark.parametrize("url", ["", "nonsense", "postgresql:///db", "mysql://db1/company"])
def test_an_address_that_is_none_is_told_with_an_example(url: str) -> None:
    with pytest.raises(LogStoreError, match="such as postgresql://fasttree@db1,db2/company"):
        Connecting(url, PostgresqlSettings())


@pytest.mark.parametrize("url", ["postgresql://postgres@127.0.0.1:57432", "postgresql://postgres@db1/?sslmode=require"])
def test_an_address_without_a_database_is_told(url: str) -> None:
    with pytest.raises(LogStoreError, match=r"log_url names no database: write postgresql://ROLE@HOST/DATABASE"):
        Connecting(url, PostgresqlSettings())
    for whole in ("postgresql://postgres@db1?dbname=company", "postgresql://?service=company", "host=db1 dbname=x"):
        Connecting(whole, PostgresqlSettings())


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://fasttree@db1/company?sslmod=verify-full", 'invalid URI query parameter: "sslmod"'),
        ("postgresql://fasttree:sesame@db1/company?sslmod=verify-full", ""),
        ("postgresql://fasttree@db1/company?passwort=sesame", 'parameter: "passwort"'),
        ("host=db1 password=sesame sslmod=x", ""),
    ],
)
def test_a_mistyped_address_is_told_by_what_is_wrong_in_it_and_no_secret(url: str, told: str) -> None:
    with pytest.raises(LogStoreError, match="log_url must name a server") as refused:
        Connecting(url, PostgresqlSettings())
    assert told in str(refused.value)
    assert "sesame" not in str(refused.value)


def test_where_the_password_came_from_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.delenv("PGPASSFILE", raising=False)

    def told(password_file: str = "") -> str:
        connecting = Connecting(
            f"postgresql:///db?host={tmp_path}", PostgresqlSettings(log_password_file=password_file)
        )
        return str(connecting.error_of(psycopg.OperationalError("no way"))).rpartition("no way; ")[2]

    unset = "log_password_file is empty"
    words = "see to the server, log_url and the password"
    assert told() == f"{words} (none is given: {unset}, and so is PGPASSWORD)"
    (tmp_path / ".pgpass").write_text("")
    assert told() == f"{words} (from {tmp_path}/.pgpass, as {unset})"
    monkeypatch.setenv("PGPASSWORD", "sesame")
    assert told() == f"{words} (from PGPASSWORD of the environment, as {unset})"
    assert told("/run/password") == f"{words} (from log_password_file)"


def test_a_password_stands_in_no_setting_and_in_no_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(LogStoreError, match="log_password_file") as refused:
        Connecting("postgresql://fasttree:sesame@db1/company", PostgresqlSettings())
    assert "sesame" not in str(refused.value)
    secret = tmp_path / "password"
    secret.write_text("sesame\n")
    options = PostgresqlSettings(log_password_file=str(secret), log_patience_s=0.1)
    settings = LogSettings(log_store="postgresql", log_url=f"postgresql:///db?host={tmp_path}", postgresql=options)
    with pytest.raises(LogStoreError) as refused:
        PostgresqlLog(tmp_path, settings, "test")
    assert "sesame" not in str(refused.value) + caplog.text
    secret.unlink()
    with pytest.raises(LogStoreError, match="can't be read"):
        PostgresqlLog(tmp_path, settings, "test")
