"""Ids of trimmed records in PostgreSQL: out of the table, into runs that every pusher has a copy of."""

from __future__ import annotations

from pathlib import Path

import msgspec
import psycopg
import pytest

from bench.rivals.postgres_replicas import ReplicatedPostgres
from services.pusher.log.ids.archive import MERGE_RUNS
from services.pusher.log.postgresql.store import PostgresqlLog
from services.pusher.log.postgresql.tables import MIGRATIONS, VERSION, founding, upgrade_sql
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import DeposedError, LogDamagedError, LogEnds, LogStoreError, StoreFullError
from tests.pusher.updates import ids_and_contents, order, orders

#: Records of one trim here.
_TRIMMED = 20


def trimmed(settings: LogSettings, folder: Path, trims: int) -> PostgresqlLog:
    """A log of a hundred updates, of which so many times twenty were trimmed, with no merge yet."""
    store = PostgresqlLog(made(folder), settings, "test").claim_alone()
    store.append(*ids_and_contents(orders(0, 100)))
    for _ in range(trims):
        assert store.trim(100, _TRIMMED) == _TRIMMED
    return store


def made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def knows_all(store: PostgresqlLog) -> bool:
    """Whether every id is known with its content and its position, and another one is not."""
    appended = store.append(*ids_and_contents(orders(0, 100)))
    assert list(appended.positions) == list(range(1, 101))
    assert store.find([f"order-{number}" for number in range(110)]) == {f"order-{number}" for number in range(100)}
    return appended.run is None and len(appended.duplicates) == 100


def count(server: ReplicatedPostgres, settings: LogSettings, table: str) -> int:
    return int(server.psql(f"SELECT count(*) FROM {settings.postgresql.log_schema}.{table}"))


def copies(folder: Path) -> list[Path]:
    return sorted((folder / "postgresql-ids").iterdir())


def test_the_table_has_ids_of_kept_records_alone_and_every_pusher_knows_the_others(
    settings: LogSettings, server: ReplicatedPostgres, tmp_path: Path
) -> None:
    first = trimmed(settings, tmp_path / "a", 3)
    beside = PostgresqlLog(made(tmp_path / "b"), settings, "test")
    assert first.trim(100, _TRIMMED) == _TRIMMED
    assert count(server, settings, "kept_ids") == 20
    assert count(server, settings, "id_runs") == MERGE_RUNS
    merge = first.merge_ids()
    assert merge is not None
    merge()
    assert count(server, settings, "id_runs") == 1
    assert first.merge_ids() is None
    assert knows_all(first)
    assert beside.follow(90, 1 << 20) is not None
    assert beside.find(["order-0", "order-75", "nobody's"]) == {"order-0", "order-75"}
    beside.claim(2, "b")
    assert knows_all(beside)
    # What the merge left goes with the trims.
    assert count(server, settings, "id_pieces") == MERGE_RUNS + 1
    beside.trim(90, _TRIMMED)
    assert count(server, settings, "id_pieces") == count(server, settings, "id_runs") == 2
    with pytest.raises(DeposedError):
        first.trim(100, _TRIMMED)
    assert knows_all(beside)
    first.close()
    beside.close()


def test_who_follows_keeps_copies_of_what_counts_alone(settings: LogSettings, tmp_path: Path) -> None:
    first = trimmed(settings, tmp_path / "a", 0)
    beside = PostgresqlLog(made(tmp_path / "b"), settings, "test")
    for _ in range(2 * MERGE_RUNS):
        first.trim(100, 2)
        beside.follow(99, 1 << 20)
        while (take_merged := first.merge_ids()) is not None:
            take_merged()
    beside.follow(99, 1 << 20)
    assert [path.name for path in copies(tmp_path / "b")] == ["00000005.ids", "00000010.ids"]
    first.close()
    beside.close()


def test_a_merge_that_the_server_does_not_take_leaves_one_file_and_counts_later(
    settings: LogSettings, server: ReplicatedPostgres, tmp_path: Path
) -> None:
    store = trimmed(settings, tmp_path / "a", MERGE_RUNS)
    pieces = f"{settings.postgresql.log_schema}.id_pieces"
    server.psql(f"ALTER TABLE {pieces} ADD CONSTRAINT no_more CHECK (run <= {MERGE_RUNS}) NOT VALID")
    for _ in range(3):
        with pytest.raises(LogStoreError):
            store.merge_ids()
    assert len(copies(tmp_path / "a")) == MERGE_RUNS + 1
    server.psql(f"ALTER TABLE {pieces} DROP CONSTRAINT no_more")
    take_merged = store.merge_ids()
    assert take_merged is not None
    take_merged()
    assert count(server, settings, "id_runs") == 1
    assert knows_all(store)
    store.close()


def test_a_copy_that_is_damaged_cut_gone_or_anothers_is_fetched_anew(settings: LogSettings, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    trimmed(settings, folder, 3).close()
    one, two, three = (path.read_bytes() for path in copies(folder))
    for path, data in zip(copies(folder), (one[:40] + b"!" + one[41:], two[:-9], one), strict=True):
        path.write_bytes(data)
    again = PostgresqlLog(folder, settings, "test").claim_alone()
    assert [path.read_bytes() for path in copies(folder)] == [one, two, three]
    assert knows_all(again)
    for path in copies(folder):
        path.unlink()
    again.close()
    again = PostgresqlLog(folder, settings, "test").claim_alone()
    assert knows_all(again)
    assert len(copies(folder)) == 3
    again.close()


def test_a_copy_that_turns_out_damaged_when_an_id_comes_again_is_fetched_anew(
    settings: LogSettings, tmp_path: Path
) -> None:
    store = PostgresqlLog(tmp_path, settings, "test").claim_alone()
    store.append(*ids_and_contents(orders(0, 6_000)))
    store.trim(6_000, 6_000)
    store.close()
    (copy,) = copies(tmp_path)
    whole = copy.read_bytes()
    # The positions, which nobody reads before.
    copy.write_bytes(whole[:-1_000] + bytes(900) + whole[-100:])
    again = PostgresqlLog(tmp_path, settings, "test").claim_alone()
    assert copy.read_bytes() != whole
    assert list(again.append(*ids_and_contents(orders(10, 100))).positions) == list(range(11, 111))
    assert copy.read_bytes() == whole
    again.close()


def test_a_copy_that_gets_damaged_while_nothing_happens_is_fetched_anew(
    settings: LogSettings, server: ReplicatedPostgres, tmp_path: Path
) -> None:
    store = trimmed(settings, tmp_path / "a", 1)
    (copy,) = copies(tmp_path / "a")
    whole = copy.read_bytes()

    def look() -> None:
        with copy.open("r+b") as file:
            file.seek(100)
            file.write(b"other bytes")
        for check in store.id_checks(1 << 20):
            check()
        store.tend()

    look()
    assert copy.read_bytes() == whole
    assert store.damage.count(1) == 0
    pieces = f"{settings.postgresql.log_schema}.id_pieces"
    server.psql(f"UPDATE {pieces} SET bytes = set_byte(bytes, 40, get_byte(bytes, 40) # 1)")
    with pytest.raises(LogDamagedError, match="damaged at byte 32; the server has it so: bring back a whole copy"):
        look()
    assert store.damage.count(1) == 1
    store.close()


def test_ids_that_the_server_has_damaged_or_lost_are_told(
    settings: LogSettings, server: ReplicatedPostgres, tmp_path: Path
) -> None:
    trimmed(settings, tmp_path / "a", 1).close()
    pieces = f"{settings.postgresql.log_schema}.id_pieces"
    server.psql(f"UPDATE {pieces} SET bytes = set_byte(bytes, 40, get_byte(bytes, 40) # 1)")
    with pytest.raises(LogDamagedError, match="damaged at byte 32"):
        PostgresqlLog(made(tmp_path / "b"), settings, "test")
    server.psql(f"DELETE FROM {pieces}")
    with pytest.raises(LogDamagedError, match=r"piece 0 of run 1 of ids is missing; bring back a whole copy"):
        PostgresqlLog(made(tmp_path / "b"), settings, "test")


def test_a_merge_of_a_pusher_that_was_deposed_meanwhile_counts_for_nobody(
    settings: LogSettings, server: ReplicatedPostgres, tmp_path: Path
) -> None:
    old = trimmed(settings, tmp_path / "a", 4)
    late = old.merge_ids()
    assert late is not None
    new = PostgresqlLog(made(tmp_path / "b"), settings, "test")
    new.claim(2, "b")
    merge = new.merge_ids()
    assert merge is not None
    with pytest.raises(DeposedError):
        late()
    merge()
    assert knows_all(new)
    assert count(server, settings, "id_runs") == 1
    # It comes back, and what it had merged before is nothing now.
    old.claim(3, "a")
    with pytest.raises(StoreFullError, match="others have merged the same ids"):
        late()
    assert knows_all(old)
    old.close()
    new.close()


def test_no_room_for_the_copy_trims_nothing(settings: LogSettings, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    store = trimmed(settings, folder, 0)
    (folder / "postgresql-ids").write_text("a file where the folder should be")
    with pytest.raises(StoreFullError, match="is a file where a folder should be; move that file away"):
        store.trim(100, _TRIMMED)
    assert store.ends() == LogEnds(1, 100)
    (folder / "postgresql-ids").unlink()
    assert store.trim(100, _TRIMMED) == _TRIMMED
    assert knows_all(store)
    store.close()


def make_version_1(server: ReplicatedPostgres, schema: str) -> None:
    said = founding(schema, "test").replace(f"('version', '{VERSION}')", "('version', '1')")
    server.psql(f"CREATE SCHEMA {schema};" + MIGRATIONS[1].format(schema=schema) + said)


def test_an_administrator_brings_the_tables_of_version_1_up_to_date(
    settings: LogSettings, server: ReplicatedPostgres, tmp_path: Path
) -> None:
    schema = settings.postgresql.log_schema
    role = f"pusher_of_{schema}"
    make_version_1(server, schema)
    server.psql(f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role}")
    server.psql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}")
    its = msgspec.structs.replace(settings, log_url=server.url(user=role))
    with pytest.raises(LogStoreError, match=r"has tables of version 1, not 2, .*`fasttree log schema --from 1` prints"):
        PostgresqlLog(tmp_path, its, "test")
    server.psql(upgrade_sql(schema, 1, role))
    store = trimmed(its, tmp_path, 0)
    assert store.trim(100, _TRIMMED) == _TRIMMED
    assert knows_all(store)
    store.close()
    with psycopg.connect(server.url(), autocommit=True) as connection, pytest.raises(psycopg.errors.RaiseException):
        connection.execute(upgrade_sql(schema, 1, role))
    server.psql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_log_of_version_1_is_taken_over_and_its_pusher_takes_nothing_more(
    settings: LogSettings, server: ReplicatedPostgres, tmp_path: Path
) -> None:
    schema = settings.postgresql.log_schema
    make_version_1(server, schema)
    # As version 1 wrote it: one update was trimmed, and its id is still in the table.
    server.psql(
        f"INSERT INTO {schema}.ids VALUES ('order-0', 1, 7), ('order-1', 2, 7);"
        f"INSERT INTO {schema}.records VALUES (2, 'order-1', '');"
        f"UPDATE {schema}.fence SET first = 2, last = 2, claims = 1, epoch = 1"
    )
    store = PostgresqlLog(tmp_path, settings, "test").claim_alone()
    assert store.find(["order-0", "order-1", "order-2"]) == {"order-0", "order-1"}
    assert list(store.append(*ids_and_contents([order(0), order(2)])).positions) == [0, 3]
    assert server.psql(f"SELECT to_regclass('{schema}.ids') IS NULL") == "t"
    store.close()
